# shellcheck shell=bash
# The streams of every process: FIFOs that the supervisor holds open, so that neither the death of a plugin nor
# that of the log writer closes one, and what is in it is read by the next log writer. Sourced by entrypoint.sh.

# usage: open_fifo NAME    Opens FIFO NAME and sets REPLY to its file descriptor.
open_fifo() {
  exec {REPLY}<>"$ff_state/$1"
  ff_fds+=("$REPLY")
}

open_streams() {
  local region
  declare -gA ff_out=() ff_err=()
  declare -ga ff_fds=()
  # Writable even in a read-only container; a directory of its own, for containers that share it.
  ff_state=$(mktemp -d /dev/shm/finfocus.XXXXXX 2>/dev/null || mktemp -d) ||
    bad_setting "neither /dev/shm nor /tmp is writable: mount a tmpfs there"
  ff_mark=${ff_state##*.}$RANDOM$RANDOM
  local -a fifos=("$ff_state/supervisor" "$ff_state/proxy" "$ff_state/health")
  for region in "${ff_regions[@]}"; do
    fifos+=("$ff_state/$region.out" "$ff_state/$region.err")
  done
  mkfifo -m 600 "${fifos[@]}"
  open_fifo supervisor && ff_own_stream=$REPLY
  open_fifo proxy && ff_proxy_stream=$REPLY
  open_fifo health && ff_health_stream=$REPLY
  for region in "${ff_regions[@]}"; do
    open_fifo "$region.out" && ff_out[$region]=$REPLY
    open_fifo "$region.err" && ff_err[$region]=$REPLY
  done
}

# In a child: it must not hold the streams of others open.
close_streams() {
  local fd
  for fd in "${ff_fds[@]}"; do
    exec {fd}>&-
  done
}
