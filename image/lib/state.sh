# shellcheck shell=bash
# Creates the state directory with the FIFOs and the proxy's configuration, with its limits. Sourced by prepare.sh.

readonly FF_STATE_BYTES=131072 FF_METRICS_CONNECTIONS=256 FF_PROXY_FILES=64

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

# usage: limit_connections    Sets ff_maxconn for the proxy and, for each region, its limit ff_connections and ff_accepted,
# which includes those that get a 503. Each region has its share, so that its clients cannot use up the connections of the
# others or of the metrics port. The default of FINFOCUS_MAX_CONNECTIONS is lowered to fit the file limit.
limit_connections() {
  local files count=${#ff_regions[@]} limit=${ff_setting[max_connections]} needed
  ff_connections=$limit
  ff_accepted=$((limit + limit / 8 + 1))
  ff_maxconn=$(((ff_accepted + 1) * count + FF_METRICS_CONNECTIONS))
  files=$(ulimit -Hn)
  needed=$((ff_maxconn * 2 + FF_PROXY_FILES)) # two files per connection
  [[ $files != unlimited ]] && ((files < needed)) || return 0
  [[ -z ${FINFOCUS_MAX_CONNECTIONS:-} ]] ||
    bad_setting "FINFOCUS_MAX_CONNECTIONS is $limit, for which $count regions need $needed open files, and the limit is $files: lower it, or raise the limit with --ulimit nofile=$needed"
  ff_maxconn=$(((files - FF_PROXY_FILES) / 2))
  ff_connections=$(((ff_maxconn * 15 / 16 / count - 2) * 8 / 9))
  ff_accepted=$((ff_connections + ff_connections / 8 + 1))
  ((ff_connections > 0)) ||
    bad_setting "the limit of open files is $files, which is too low for $count regions: raise it with --ulimit nofile=1024"
}

# Sets ff_rotation, which closes HTTP/1.1 connections after FINFOCUS_MAX_CONNECTION_REQUESTS on average, and
# ff_stream_limit, the limit for HTTP/2. HAProxy 2.6 has no such setting for HTTP/2 and would not start with it.
limit_requests() {
  local setting=tune.h2.fe.max-total-streams count=${ff_setting[max_connection_requests]}
  ff_rotation='# connections last' ff_stream_limit=''
  ((count > 0)) || return 0
  ff_rotation="http-after-response set-header connection close if { fc_http_major 1 } { rand($count) 0 }"
  if grep -qF "$setting" "$(type -P haproxy)"; then
    ff_stream_limit="    $setting $count"
  else
    log warn - "FINFOCUS_MAX_CONNECTION_REQUESTS ends no HTTP/2 connection: this HAProxy has no $setting"
  fi
}

# Writes the environment of haproxy.cfg and metrics.lua; the plugins do not get it.
proxy_settings() {
  local bind=:: access_log=0 restart_limit=${ff_setting[max_restarts]}
  [[ -e /proc/net/if_inet6 ]] || bind='*'
  [[ ${FINFOCUS_ACCESS_LOG:-} != true ]] || access_log=1
  ((ff_setting[stable_seconds] > 0)) || restart_limit=0
  printf 'global\n'
  # Each region has its share, so that its clients cannot use up the connections of the others or of the metrics port.
  printf '    setenv %s "%s"\n' FF_HOME "$ff_home" FF_STATE_DIR "$ff_state" FF_BIND "$bind" \
    FF_METRICS_PORT "$ff_metrics_port" FF_MAXCONN "$ff_maxconn" FF_REGION_CONNECTIONS "$ff_connections" \
    FF_REGION_ACCEPTED "$ff_accepted" FF_REGION_MAXCONN "$((ff_accepted + 1))" FF_REGIONS "${ff_regions[*]}" \
    FF_MEMORY_LIMIT "${ff_memory_limit:-0}" FF_MEMORY_NEED "$ff_memory_need" FF_RESTART_LIMIT "$restart_limit" \
    FF_ACCESS_LOG "$access_log"
  printf '%s\n' "$ff_stream_limit"
}

# Writes the proxy's configuration for each selected region.
proxy_regions() {
  local region text template access='# no access log' check='# no health endpoint: checked by connecting' protocol=''
  if [[ ${FINFOCUS_PLUGIN_WEB_ENABLED:-} == true && ${FINFOCUS_PLUGIN_HEALTH_ENDPOINT:-} == true ]]; then
    check=$'option httpchk GET /healthz\n    http-check expect status 200'
    protocol='check-proto h1'
  fi
  [[ ${FINFOCUS_ACCESS_LOG:-} != true ]] || access=$(<"$ff_home/haproxy.access.cfg")
  template=$(<"$ff_home/haproxy.region.cfg")
  template=${template//@ROTATE@/$ff_rotation}
  template=${template//@ACCESS@/$access}
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
