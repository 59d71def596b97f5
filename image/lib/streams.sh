# shellcheck shell=bash
# The streams of every process: FIFOs that the supervisor holds open, so that neither the death of a plugin nor
# that of the log writer closes one, and what is in it is read by the next log writer. Sourced by entrypoint.sh.

readonly FF_STATE_BYTES=131072

# usage: open_fifo NAME    Opens FIFO NAME and sets REPLY to its file descriptor.
open_fifo() {
  exec {REPLY}<>"$ff_state/$1"
  ff_fds+=("$REPLY")
}

# usage: make_state PARENT    Makes a directory of our own in PARENT, sets ff_state to it; fails unless there is room.
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

open_streams() {
  local region
  declare -gA ff_out=() ff_err=()
  declare -ga ff_fds=() ff_fifos=()
  # /dev/shm is writable even in a read-only container.
  make_state /dev/shm || make_state "${TMPDIR:-/tmp}" ||
    bad_setting "neither /dev/shm nor /tmp has room for $FF_STATE_BYTES bytes: mount a tmpfs there"
  ff_mark=${ff_state##*.}$RANDOM$RANDOM
  ff_fifos=("$ff_state/supervisor" "$ff_state/proxy" "$ff_state/health" "$ff_state/pause")
  for region in "${ff_regions[@]}"; do
    ff_fifos+=("$ff_state/$region.out" "$ff_state/$region.err")
  done
  mkfifo -m 600 "${ff_fifos[@]}"
  open_fifo supervisor && ff_own_stream=$REPLY
  open_fifo proxy && ff_proxy_stream=$REPLY
  open_fifo health && ff_health_stream=$REPLY
  open_fifo pause && ff_pause_stream=$REPLY
  for region in "${ff_regions[@]}"; do
    open_fifo "$region.out" && ff_out[$region]=$REPLY
    open_fifo "$region.err" && ff_err[$region]=$REPLY
  done
  # What bash itself has to say comes out as a line like any other.
  exec 2>&"$ff_own_stream"
}

# In a child: it must not hold the streams of others open.
close_streams() {
  local fd
  for fd in "${ff_fds[@]}"; do
    exec {fd}>&-
  done
}

# Ends the supervisor's part of every stream, and with it, once the children are gone, the stream. It is still held open
# for reading: what a FIFO holds is lost when nobody has it open, and the log writer may have to be started again.
end_streams() {
  local path fd
  local -a readers=()
  for path in "${ff_fifos[@]}"; do
    exec {fd}<"$path"
    readers+=("$fd")
  done
  exec 2>&1
  close_streams
  ff_fds=("${readers[@]}")
  ff_own_stream=''
  open_fifo pause && ff_pause_stream=$REPLY
}
