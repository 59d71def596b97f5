# shellcheck shell=bash
# Starts each kind of process and keeps who is who. Sourced by entrypoint.sh.
# ff_pid: name -> process ID, ff_name: process ID -> name. A name is a region, `proxy`, `log-writer`,
# `health` or `timer:...`.

declare -gA ff_pid=() ff_name=() ff_starts=() ff_failures=() ff_started=()

# usage: uptime_cs    Sets REPLY to the machine's uptime in hundredths of a second; it never jumps.
uptime_cs() {
  read -r REPLY _ </proc/uptime
  REPLY=$((10#${REPLY/./}))
}

# usage: remember NAME PID
remember() {
  uptime_cs
  ff_pid[$1]=$2
  ff_name[$2]=$1
  ff_started[$1]=$REPLY
  ff_starts[$1]=$((${ff_starts[$1]:-0} + 1))
}

# usage: forget NAME
forget() {
  unset "ff_name[${ff_pid[$1]}]" "ff_pid[$1]"
}

# usage: start_region REGION
start_region() {
  local out=${ff_out[$1]} err=${ff_err[$1]} began=$EPOCHREALTIME
  (
    exec >&"$out" 2>&"$err" </dev/null
    close_streams
    exec lua5.3 "$ff_home/launch.lua" "$$" "$ff_mark" "$ff_home/bin/finfocus-plugin-aws-public-$1" \
      --port "$((ff_port[$1] + FF_PLUGIN_PORT_OFFSET))"
  ) &
  remember "$1" "$!"
  # One write of fixed length in place: a reader sees the old line or the new one.
  printf '%-10d %-6d %s\n' "$!" "${ff_starts[$1]}" "$began" 1<>"$ff_state/region.$1"
}

start_all_regions() {
  local region
  log info - "starting ${#ff_regions[@]} regions: ${ff_regions[*]}"
  for region in "${ff_regions[@]}"; do
    start_region "$region"
  done
}

start_log_writer() {
  local region
  local -a streams=(--own "-=$ff_state/supervisor" --own "-=$ff_state/proxy")
  for region in "${ff_regions[@]}"; do
    streams+=("$region=$ff_state/$region.out" "$region=$ff_state/$region.err")
  done
  (
    close_streams
    exec lua5.3 "$ff_home/logmux.lua" --mark "$ff_mark" --state "$ff_state" "${streams[@]}" </dev/null
  ) &
  remember log-writer "$!"
  printf '%-10d\n' "$!" 1<>"$ff_state/logmux.pid"
}

# usage: render_proxy    Writes the proxy's section for every selected region.
render_proxy() {
  local region text template check='# no health endpoint: a connection is the check' protocol=''
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
  done >"$ff_state/regions.cfg"
}

start_proxy() {
  local bind=::
  [[ -e /proc/net/if_inet6 ]] || bind='*'
  [[ -e $ff_state/regions.cfg ]] || render_proxy
  (
    exec >&"$ff_proxy_stream" 2>&1 </dev/null
    close_streams
    export FF_BIND=$bind FF_METRICS_PORT=$ff_metrics_port FF_HOME=$ff_home FF_STATE_DIR=$ff_state \
      FF_REGIONS="${ff_regions[*]}" FF_STARTUP_SECONDS=$ff_startup_seconds FF_VERSION="${FINFOCUS_IMAGE_VERSION:-}" \
      FF_UNHEALTHY_SECONDS=$ff_unhealthy_seconds FF_HEALTH_EVENTS=$ff_state/health
    exec haproxy -db -f "$ff_home/haproxy.cfg" -f "$ff_state/regions.cfg"
  ) &
  remember proxy "$!"
}

# The proxy writes the index of a region that failed its health check for too long; the watcher ends with that index,
# which wakes the supervisor like any other event.
watch_health() {
  (
    exec <&"$ff_health_stream"
    close_streams
    read -r index
    exit "$index"
  ) &
  remember health "$!"
}

# usage: start_timer NAME SECONDS
start_timer() {
  (
    close_streams
    exec sleep "$2" </dev/null
  ) &
  remember "timer:$1" "$!"
}
