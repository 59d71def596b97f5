# shellcheck shell=bash
# The supervisor's own log lines. Sourced by entrypoint.sh.

# usage: json_text TEXT    Sets REPLY to TEXT as the inside of a JSON string; what is not printable ASCII becomes `?`.
json_text() {
  local text=$1 LC_ALL=C
  text=${text//\\/\\\\}
  text=${text//\"/\\\"}
  REPLY=${text//[^ -~]/?}
}

# usage: now_rfc3339    Sets REPLY to the time in UTC with milliseconds.
now_rfc3339() {
  local now=$EPOCHREALTIME
  printf -v REPLY '%(%Y-%m-%dT%H:%M:%S)T.%sZ' "${now%.*}" "${now: -6:3}"
}

# usage: log_line LEVEL REGION MESSAGE    Sets REPLY to the JSON line. Starts no process: it must work when none can be.
log_line() {
  local now
  now_rfc3339
  now=$REPLY
  json_text "$3"
  printf -v REPLY '{"level":"%s","time":"%s","timestamp":"%s","region":"%s","message":"%s"}' \
    "$1" "$now" "$now" "$2" "$REPLY"
}

# usage: log LEVEL REGION MESSAGE    Through the log writer while there is one, which alone writes to stdout.
log() {
  local REPLY
  log_line "$@"
  if [[ -n ${ff_own_stream:-} ]]; then
    printf '%s\n' "$REPLY" >&"$ff_own_stream"
  else
    printf '%s\n' "$REPLY"
  fi
}
