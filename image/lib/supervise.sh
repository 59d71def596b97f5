# shellcheck shell=bash
# What happens when a child ends or a signal comes. Sourced by entrypoint.sh.

readonly FF_STOP_LOOK_SECONDS=0.2 FF_DRAIN_SECONDS=0.2 FF_LAST_WRITERS=3 FF_ROOM_TENTHS=100
readonly FF_NO_ROOM='no process can be started: raise the limit of processes'
declare -g ff_stopping='' ff_regions_told='' ff_stop_ends=0 ff_last_writers=0 ff_exit_code=0 ff_last_words=''

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

# usage: need_room    Waits until a process can be started; stops the container, and returns 1, when that takes too long.
need_room() {
  ! has_room || return 0
  if ! await_room "$FF_ROOM_TENTHS"; then
    ff_exit_code=1 ff_last_region=- ff_last_words="$FF_NO_ROOM"
    log error - "$FF_NO_ROOM: stopping every region"
    begin_stop
  fi
  # A signal ends the wait as well; what is left undone then needs not be done any more.
  [[ -z $ff_stopping && -z $ff_signal ]]
}

# usage: region_ended REGION STATUS
# Ctrl+C on a terminal reaches the regions as well, maybe sooner.
region_ended() {
  [[ -z $ff_stopping && -z $ff_signal ]] || return 0
  count_failure "$1"
  if ((ff_failures[$1] > ff_max_restarts)); then
    give_up "$1" "$1" "$2"
    return
  fi
  restart_delay "${ff_failures[$1]}"
  log warn "$1" "$1 ended (exit $2): start ${ff_failures[$1]} of $ff_max_restarts again in $REPLY s"
  ! need_room || start_timer "restart:$1" "$REPLY"
}

# usage: part_ended NAME STATUS    The proxy and the log writer start again at once.
part_ended() {
  if [[ -n $ff_stopping ]]; then
    [[ $1 != proxy ]] || stop_regions
    return 0
  fi
  count_failure "$1"
  if ((ff_failures[$1] > ff_max_restarts)); then
    give_up "$1" - "$2"
    return 0
  fi
  need_room || return 0
  "start_${1//-/_}"
  log warn - "$1 ended (exit $2): started again"
}

# usage: log_writer_ended STATUS    While the container stops it has to write what is left, whatever came before.
log_writer_ended() {
  [[ -n $ff_stopping ]] || part_ended log-writer "$1"
  [[ -n $ff_stopping ]] || return 0
  [[ -z $ff_own_stream && $1 == 0 ]] || ((ff_last_writers++ >= FF_LAST_WRITERS)) || ! await_room 4 ||
    start_log_writer
}

# usage: watcher_ended STATUS    See watch_health for what the status says.
watcher_ended() {
  [[ -z $ff_stopping ]] && need_room || return 0
  watch_health
  case $1 in
    "$FF_PROXY_STOPPED") kill_stopped proxy ;;
    "$FF_LOG_WRITER_STOPPED") kill_stopped log-writer ;;
    0) ;; # somebody has ended: the sweep finds who
    *) kill_unhealthy "${ff_regions[$1 - 1]:-}" ;;
  esac
}

# usage: kill_stopped NAME
kill_stopped() {
  [[ -n ${ff_pid[$1]:-} ]] || return 0
  kill -KILL "${ff_pid[$1]}" 2>/dev/null || true
  log warn - "$1 was stopped by a signal: killed"
}

# usage: kill_unhealthy REGION
kill_unhealthy() {
  [[ -n $1 && -n ${ff_pid[$1]:-} ]] || return 0
  log warn "$1" "$1 lives but fails its health check: killed"
  kill -KILL "${ff_pid[$1]}" 2>/dev/null || true
}

# usage: timer_ended NAME
timer_ended() {
  case $1 in
    timer:restart:*) [[ -n $ff_stopping ]] || ! need_room || start_region "${1#timer:restart:}" ;;
    timer:look) stop_regions ;;
    timer:kill) stop_time_is_over ;;
    timer:drain) kill_log_writer ;;
  esac
}

# usage: ended NAME STATUS
ended() {
  forget "$1"
  case $1 in
    timer:*) timer_ended "$1" ;;
    health) watcher_ended "$2" ;;
    proxy) part_ended "$1" "$2" ;;
    log-writer) log_writer_ended "$2" ;;
    last-words) ;;
    *) region_ended "$1" "$2" ;;
  esac
}

# Handles every child that has ended; returns 1 when there was none.
sweep() {
  local pid status found=1
  for pid in "${!ff_name[@]}"; do
    if ! kill -0 "$pid" 2>/dev/null; then
      status=0
      # A signal that comes just then makes bash lose what it was told of the end: it believes the process alive,
      # and `wait` for it would sleep until every other child has ended too.
      disown "$pid" 2>/dev/null || true
      wait "$pid" 2>/dev/null || status=$?
      ended "${ff_name[$pid]}" "$status"
      found=0
    fi
  done
  return "$found"
}

# The proxy first: it takes no new request, answers those that are on their way, and ends. A region that is told
# meanwhile would leave a request that comes just then without an answer for a second (Go's HTTP/2 at its end).
begin_stop() {
  local name
  [[ -z $ff_stopping ]] || return 0
  ff_stopping=1
  uptime_cs
  ff_stop_ends=$((REPLY + ff_stop_seconds * 100))
  start_stop_timer
  for name in "${!ff_pid[@]}"; do
    case $name in
      proxy) kill -USR1 "${ff_pid[$name]}" 2>/dev/null || true ;;
      timer:restart:*) kill -TERM "${ff_pid[$name]}" 2>/dev/null || true ;;
    esac
  done
  # What SIGSTOP has stopped ends only when it goes on.
  kill -CONT "${ff_pid[@]}" 2>/dev/null || true
  # The proxy's end tells the regions, or the first look (see await_event); without the one or the other it is now.
  [[ -n ${ff_pid[proxy]:-} ]] && has_room || stop_regions
}

# The front is closed, or a call takes long: the regions are told, and answer what they have.
stop_regions() {
  local region
  [[ -z $ff_regions_told ]] || return 0
  ff_regions_told=1
  for region in "${ff_regions[@]}"; do
    kill -TERM "${ff_pid[$region]:-}" 2>/dev/null || true
  done
}

# The last way out: what lives is killed, and the log writer has a moment to write what there is.
stop_time_is_over() {
  local name left
  stop_regions # with no second to stop there is none for the front either
  uptime_cs
  left=$((ff_stop_ends - REPLY))
  if ((left > 5)); then # the timer was killed
    printf -v left '%d.%02d' "$((left / 100))" "$((left % 100))"
    ! await_room 4 || start_timer kill "$left"
    return
  fi
  for name in "${!ff_pid[@]}"; do
    case $name in
      log-writer | last-words | timer:*) continue ;;
      proxy | health) ;;
      *) log warn "$name" "$name ignored SIGTERM for $ff_stop_seconds s: killed" ;;
    esac
    kill -KILL "${ff_pid[$name]}" 2>/dev/null || true
  done
  kill -CONT "${ff_pid[@]}" 2>/dev/null || true
  if await_room 4; then start_timer drain "$FF_DRAIN_SECONDS"; else kill_log_writer; fi
}

# Nobody reads what the container writes, or a process that outlives its region holds a stream.
kill_log_writer() {
  ff_last_writers=$FF_LAST_WRITERS
  kill -KILL "${ff_pid["log-writer"]:-}" "${ff_pid["last-words"]:-}" 2>/dev/null || true
}

# True while a region runs.
regions_run() {
  local region
  for region in "${ff_regions[@]}"; do
    [[ -z ${ff_pid[$region]:-} ]] || return 0
  done
  return 1
}

# usage: asked_to_stop    A signal has come; also the trap's own work while the supervisor sleeps.
asked_to_stop() {
  [[ -z $ff_stopping ]] || return 0
  log info - "SIG$ff_signal: stopping ${#ff_regions[@]} regions"
  begin_stop
}

# Returns when a child has ended or a signal has come, and what there was to do is done.
# What ends just when `wait -n` begins is slept over: bash takes note of it before it listens, and then listens for the
# next. So there is always a next: the watcher's end while the regions run, a timer's while they stop.
await_event() {
  [[ -z $ff_stopping || -n ${ff_pid["timer:look"]:-} ]] || ! has_room || start_timer look "$FF_STOP_LOOK_SECONDS"
  ff_idle=1
  [[ -n $ff_signal && -z $ff_stopping ]] || wait -n 2>/dev/null || true
  ff_idle=''
  while sweep; do :; done
  [[ -z $ff_signal ]] || asked_to_stop
}

# Returns when the container is asked to stop and no region is left.
supervise() {
  while [[ -z $ff_stopping ]] || regions_run; do
    await_event
  done
}

# usage: await NAME    Returns when the process NAME has ended for good.
await() {
  while [[ -n ${ff_pid[$1]:-} ]]; do
    await_event
  done
}

# Where all processes are ours, what a region has left behind ends with it.
kill_strays() {
  local directory pid
  (($$ == 1)) || return 0
  for directory in /proc/[0-9]*; do
    pid=${directory#/proc/}
    ((pid == 1)) || [[ -n ${ff_name[$pid]:-} ]] || kill -KILL "$pid" 2>/dev/null || true
  done
}

# In a process of its own, because nobody may read.
say_last_words() {
  if ! await_room 4; then
    log error "$ff_last_region" "$ff_last_words"
    return
  fi
  (log error "$ff_last_region" "$ff_last_words") &
  remember last-words "$!"
  start_timer drain "$FF_DRAIN_SECONDS"
  await last-words
}

# usage: rescue STATUS    The trap of the supervisor's end, when that is not its own will: what runs is stopped as ever.
rescue() {
  trap - EXIT
  if [[ -z $ff_stopping ]]; then
    ff_exit_code=1 ff_last_region=- ff_last_words="the supervisor failed (exit $1): $FF_NO_ROOM"
    begin_stop
  fi
  supervise
  finish
}

# Ends the proxy, lets the log writer write what is left, and exits.
finish() {
  [[ -z ${ff_pid[proxy]:-} ]] || kill -TERM "${ff_pid[proxy]}" 2>/dev/null || true
  await proxy
  kill_strays
  [[ -n $ff_last_words ]] || log info - "all regions have stopped"
  end_streams
  await log-writer
  [[ -z $ff_last_words ]] || say_last_words
  trap - EXIT
  ! has_room || rm -rf "$ff_state"
  exit "$ff_exit_code"
}
