# shellcheck shell=bash
# What happens when a child ends or a signal comes. Sourced by entrypoint.sh.

declare -g ff_stopping='' ff_exit_code=0 ff_last_words='' ff_signal=${ff_signal:-}

# usage: restart_delay FAILURES    Sets REPLY to the seconds before the next start: 0.2, 0.4, 0.8 and so on to 25.6.
restart_delay() {
  local tenths=$((2 << ($1 < 8 ? $1 - 1 : 7)))
  REPLY=$((tenths / 10)).$((tenths % 10))
}

# usage: count_failure NAME    Counts one failure; a process that was stable has its whole budget again.
count_failure() {
  uptime_cs
  if ((REPLY - ff_started[$1] >= ff_stable_seconds * 100)); then ff_failures[$1]=0; fi
  ff_failures[$1]=$((${ff_failures[$1]:-0} + 1))
}

# usage: give_up NAME REGION STATUS
give_up() {
  ff_exit_code=1
  ff_last_words="$1 failed again after $ff_max_restarts restarts (exit $3): the container stops"
  ff_last_region=$2
  log error "$2" "$1 has no restart left: stopping every region"
  begin_stop
}

# usage: region_ended REGION STATUS
region_ended() {
  [[ -z $ff_stopping ]] || return 0
  count_failure "$1"
  if ((ff_failures[$1] > ff_max_restarts)); then
    give_up "$1" "$1" "$2"
    return
  fi
  restart_delay "${ff_failures[$1]}"
  log warn "$1" "$1 ended (exit $2): start ${ff_failures[$1]} of $ff_max_restarts again in $REPLY s"
  start_timer "restart:$1" "$REPLY"
}

# usage: part_ended NAME STATUS    The proxy and the log writer start again at once.
part_ended() {
  [[ -z $ff_stopping || $1 == log-writer ]] || return 0
  count_failure "$1"
  if ((ff_failures[$1] > ff_max_restarts)); then
    [[ -n $ff_stopping ]] || give_up "$1" - "$2"
    return 0
  fi
  "start_${1//-/_}"
  log warn - "$1 ended (exit $2): started again"
}

# usage: health_reported INDEX    INDEX counts the selected regions from 1.
health_reported() {
  [[ -z $ff_stopping ]] || return 0
  watch_health
  local region=${ff_regions[$1 - 1]:-}
  [[ -n $region && -n ${ff_pid[$region]:-} ]] || return 0
  log warn "$region" "$region lives but fails its health check: killed"
  kill -KILL "${ff_pid[$region]}" 2>/dev/null || true
}

# usage: timer_ended NAME
timer_ended() {
  case $1 in
    timer:restart:*) [[ -n $ff_stopping ]] || start_region "${1#timer:restart:}" ;;
    timer:kill) kill_the_deaf ;;
  esac
}

# usage: ended NAME STATUS
ended() {
  forget "$1"
  case $1 in
    timer:*) timer_ended "$1" ;;
    health) health_reported "$2" ;;
    proxy | log-writer) part_ended "$1" "$2" ;;
    *) region_ended "$1" "$2" ;;
  esac
}

# Handles every child that has ended; returns 1 when there was none.
sweep() {
  local pid status found=1
  for pid in "${!ff_name[@]}"; do
    if ! kill -0 "$pid" 2>/dev/null; then
      status=0
      wait "$pid" 2>/dev/null || status=$?
      ended "${ff_name[$pid]}" "$status"
      found=0
    fi
  done
  return "$found"
}

begin_stop() {
  local name
  [[ -z $ff_stopping ]] || return 0
  ff_stopping=1
  start_timer kill "$ff_stop_seconds"
  for name in "${!ff_pid[@]}"; do
    case $name in
      timer:kill | log-writer) ;;
      proxy) kill -USR1 "${ff_pid[$name]}" 2>/dev/null || true ;;
      *) kill -TERM "${ff_pid[$name]}" 2>/dev/null || true ;;
    esac
  done
}

kill_the_deaf() {
  local region
  for region in "${ff_regions[@]}"; do
    [[ -n ${ff_pid[$region]:-} ]] || continue
    log warn "$region" "$region ignored SIGTERM for $ff_stop_seconds s: killed"
    kill -KILL "${ff_pid[$region]}" 2>/dev/null || true
  done
}

# True while a region runs.
regions_run() {
  local region
  for region in "${ff_regions[@]}"; do
    [[ -z ${ff_pid[$region]:-} ]] || return 0
  done
  return 1
}

# Returns when the container is asked to stop and no region is left.
supervise() {
  while true; do
    while sweep; do :; done
    if [[ -n $ff_signal && -z $ff_stopping ]]; then
      log info - "SIG$ff_signal: stopping ${#ff_regions[@]} regions"
      begin_stop
      continue
    fi
    [[ -z $ff_stopping ]] || regions_run || return 0
    wait -n 2>/dev/null || true
  done
}

# usage: await NAME    Returns when the process NAME has ended; signals that come meanwhile change nothing.
await() {
  while [[ -n ${ff_pid[$1]:-} ]] && kill -0 "${ff_pid[$1]}" 2>/dev/null; do
    wait "${ff_pid[$1]}" 2>/dev/null || true
  done
}

# Ends the proxy, lets the log writer write what is left, and exits.
finish() {
  if [[ -n ${ff_pid[proxy]:-} ]]; then
    kill -TERM "${ff_pid[proxy]}" 2>/dev/null || true
    await proxy
  fi
  [[ -n $ff_last_words ]] || log info - "all regions have stopped"
  close_streams
  ff_own_stream=''
  await log-writer
  [[ -z $ff_last_words ]] || log error "$ff_last_region" "$ff_last_words"
  rm -rf "$ff_state"
  exit "$ff_exit_code"
}
