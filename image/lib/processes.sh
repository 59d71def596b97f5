# shellcheck shell=bash
# Starts each kind of process and keeps who is who. Sourced by entrypoint.sh.
# ff_pid: name -> process ID, ff_name: process ID -> name. A name is a region, `proxy`, `log-writer`,
# `health` or `timer:...`.

readonly FF_LOOK_SECONDS=4 FF_PROXY_STOPPED=254 FF_LOG_WRITER_STOPPED=253
declare -gA ff_pid_file=([$FF_PROXY_STOPPED]=proxy.pid [$FF_LOG_WRITER_STOPPED]=logmux.pid)
readonly FF_PROXY_CONNECTIONS=4096 FF_PROXY_FILES=128
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

# usage: has_room    Whether the container may have one more process, as far as its own cgroup tells.
# Format: https://docs.kernel.org/admin-guide/cgroup-v2.html#pid
has_room() {
  local directory now max
  for directory in /sys/fs/cgroup /sys/fs/cgroup/pids; do
    [[ -r $directory/pids.max && -r $directory/pids.current ]] || continue
    read -r max <"$directory/pids.max" && read -r now <"$directory/pids.current" || continue
    [[ $max == max ]] || ((now < max)) || return 1
  done
}

# usage: await_room TENTHS    Returns when there is room, 1 after so many tenths of a second; at once at a signal.
# bash ends itself when it cannot start a process. A `read` that nobody answers is a sleep that needs none.
await_room() {
  local tenth _
  for ((tenth = 0; tenth < $1; tenth++)); do
    ! has_room || return 0
    [[ -n $ff_stopping || -z $ff_signal ]] || return 0
    read -r -t 0.1 -u "$ff_pause_stream" _ || true
  done
  return 1
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
    exec lua5.3 "$ff_home/logmux.lua" --mark "$ff_mark" --state "$ff_state" "${streams[@]}" </dev/null 2>&1
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

# usage: proxy_connections    Sets REPLY to the connections that the file limit allows: each takes two, the rest some.
# Format: https://man7.org/linux/man-pages/man5/proc_pid_limits.5.html
proxy_connections() {
  local line files=unlimited
  while read -r line; do
    [[ $line != 'Max open files '* ]] || read -r _ _ _ _ files _ <<<"$line"
  done </proc/self/limits
  REPLY=$FF_PROXY_CONNECTIONS
  [[ $files == unlimited ]] || ((files >= REPLY * 2 + FF_PROXY_FILES)) || REPLY=$(((files - FF_PROXY_FILES) / 2))
}

start_proxy() {
  local bind=::
  [[ -e /proc/net/if_inet6 ]] || bind='*'
  [[ -e $ff_state/regions.cfg ]] || render_proxy
  (
    exec >&"$ff_proxy_stream" 2>&1 </dev/null
    close_streams
    proxy_connections
    # A region's share, so that clients of one take no connection from another or from the metrics port.
    export FF_MAXCONN=$REPLY FF_REGION_MAXCONN=$((REPLY * 15 / 16 / ${#ff_regions[@]})) FF_BIND=$bind FF_METRICS_PORT=$ff_metrics_port FF_HOME=$ff_home FF_STATE_DIR=$ff_state \
      FF_REGIONS="${ff_regions[*]}" FF_STARTUP_SECONDS=$ff_startup_seconds FF_VERSION="${FINFOCUS_IMAGE_VERSION:-}" \
      FF_UNHEALTHY_SECONDS=$ff_unhealthy_seconds FF_HEALTH_EVENTS=$ff_state/health
    exec haproxy -db -f "$ff_home/haproxy.cfg" -f "$ff_state/regions.cfg"
  ) &
  remember proxy "$!"
  printf '%-10d\n' "$!" 1<>"$ff_state/proxy.pid"
}

# The watcher ends, which wakes the supervisor like any other event, with the status
#   1, 2 and so on    the region of that index failed its health check for too long, as the proxy says
#   254, 253          the proxy, the log writer was found stopped (SIGSTOP): no event tells that, so it looks
#   0                 a process was found ended that is not yet started again: see await_event
# After the word `stop` it is the timer that ends the stop: at that time there may be no room for another process.
watch_health() {
  (
    exec <&"$ff_health_stream" 2>/dev/null
    close_streams
    watch
  ) &
  remember health "$!"
  printf '%-10d\n' "$!" 1<>"$ff_state/watcher.pid"
}

watch() {
  local word seen=0 seen_ended=''
  while true; do
    if read -r -t "$FF_LOOK_SECONDS" word; then
      [[ $word != stop ]] || exec sleep "$ff_stop_seconds"
      exit "$word"
    fi
    find_stopped
    ((REPLY == 0 || REPLY != seen)) || exit "$REPLY"
    seen=$REPLY
    find_ended
    [[ -z $REPLY || $REPLY != "$seen_ended" ]] || exit 0
    seen_ended=$REPLY
  done
}

# usage: find_ended    Sets REPLY to the process IDs of regions and parts that have ended and have no successor.
find_ended() {
  local file pid ended=''
  for file in "$ff_state"/region.* "$ff_state"/{proxy,logmux}.pid; do
    read -r pid _ <"$file" && [[ ! -d /proc/$pid ]] || continue
    ended+=" $pid"
  done
  REPLY=$ended
}

# usage: find_stopped    Sets REPLY to the status for a part that is stopped, 0 when none is.
find_stopped() {
  local pid stat
  for REPLY in "$FF_PROXY_STOPPED" "$FF_LOG_WRITER_STOPPED"; do
    read -r pid <"$ff_state/${ff_pid_file[$REPLY]}" && read -r stat <"/proc/$pid/stat" || continue
    [[ ${stat##*) } != T* ]] || return 0
  done
  REPLY=0
}

# usage: start_timer NAME SECONDS
start_timer() {
  (
    close_streams
    exec sleep "$2" </dev/null 2>/dev/null
  ) &
  remember "timer:$1" "$!"
}

# The watcher, which is there already, becomes the timer.
start_stop_timer() {
  local pid=${ff_pid[health]:-}
  if [[ -z $pid ]]; then
    start_timer kill "$ff_stop_seconds"
    return
  fi
  printf 'stop\n' >&"$ff_health_stream"
  forget health
  remember timer:kill "$pid"
}
