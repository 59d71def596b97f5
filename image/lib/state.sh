# shellcheck shell=bash
# Creates the state directory with the FIFOs and the proxy's configuration. Sourced by prepare.sh.

readonly FF_STATE_BYTES=131072 FF_PROXY_CONNECTIONS=4096 FF_PROXY_FILES=128

# usage: make_state PARENT    Creates a directory in PARENT and sets ff_state; fails if there is too little space.
make_state() {
  local room
  ff_state=$(mktemp -d "$1/finfocus.XXXXXX" 2>/dev/null) || return 1
  printf -v room '%*s' "$FF_STATE_BYTES" ''
  if printf '%s' "$room" 2>/dev/null >"$ff_state/room"; then
    : >"$ff_state/room"
    return 0
  fi
  rm -rf "$ff_state"
  return 1
}

# Creates the FIFOs: two per region, one each for the log of supervisor and proxy, and `events`, which wakes the supervisor.
make_streams() {
  local region
  local -a fifos
  # /dev/shm is writable even in a read-only container.
  make_state /dev/shm || make_state "${TMPDIR:-/tmp}" ||
    bad_setting "neither /dev/shm nor /tmp has room for $FF_STATE_BYTES bytes: mount a tmpfs there"
  fifos=("$ff_state/supervisor" "$ff_state/proxy" "$ff_state/events")
  for region in "${ff_regions[@]}"; do
    fifos+=("$ff_state/$region.out" "$ff_state/$region.err")
  done
  mkfifo -m 600 "${fifos[@]}"
}

# usage: proxy_connections    Sets REPLY to the connections that the file limit allows: two files each, plus some for the proxy.
proxy_connections() {
  local files
  files=$(ulimit -Hn)
  REPLY=$FF_PROXY_CONNECTIONS
  [[ $files == unlimited ]] || ((files >= REPLY * 2 + FF_PROXY_FILES)) || REPLY=$(((files - FF_PROXY_FILES) / 2))
}

# Writes the environment of haproxy.cfg and metrics.lua; the plugins do not get it.
proxy_settings() {
  local bind=::
  [[ -e /proc/net/if_inet6 ]] || bind='*'
  proxy_connections
  printf 'global\n'
  # Each region has its share, so that its clients cannot use up the connections of the others or of the metrics port.
  printf '    setenv %s "%s"\n' FF_HOME "$ff_home" FF_STATE_DIR "$ff_state" FF_BIND "$bind" \
    FF_METRICS_PORT "$ff_metrics_port" FF_MAXCONN "$REPLY" FF_REGION_MAXCONN "$((REPLY * 15 / 16 / ${#ff_regions[@]}))" \
    FF_REGIONS "${ff_regions[*]}" FF_MEMORY_LIMIT "${ff_memory_limit:-0}" FF_MEMORY_NEED "$ff_memory_need"
}

# Writes the proxy's configuration for each selected region.
proxy_regions() {
  local region text template check='# no health endpoint: checked by connecting' protocol=''
  if [[ ${FINFOCUS_PLUGIN_WEB_ENABLED:-} == true && ${FINFOCUS_PLUGIN_HEALTH_ENDPOINT:-} == true ]]; then
    check=$'option httpchk GET /healthz\n    http-check expect status 200'
    protocol='check-proto h1'
  fi
  template=$(<"$ff_home/haproxy.region.cfg")
  for region in "${ff_regions[@]}"; do
    text=${template//@REGION@/$region}
    text=${text//@PORT@/${ff_port[$region]}}
    text=${text//@PLUGIN_PORT@/$((ff_port[$region] + FF_PLUGIN_PORT_OFFSET))}
    text=${text//@CHECK@/$check}
    printf '%s\n' "${text//@CHECK_PROTO@/$protocol}"
  done
}

write_proxy_config() {
  proxy_settings >"$ff_state/settings.cfg"
  proxy_regions >"$ff_state/regions.cfg"
}

print_settings() {
  local name region
  printf '%s\n' "state=$ff_state" "lua=$(type -P lua5.3)" "haproxy=$(type -P haproxy)"
  for name in "${!ff_setting[@]}"; do
    printf '%s=%s\n' "$name" "${ff_setting[$name]}"
  done
  for region in "${ff_regions[@]}"; do
    printf '%s:%s\n' "$region" "$((ff_port[$region] + FF_PLUGIN_PORT_OFFSET))"
  done
}
