# shellcheck shell=bash
# Log lines of the preparation, one JSON object each on stdout. Sourced by prepare.sh.

# usage: json_text TEXT    Sets REPLY to TEXT as the inside of a JSON string; what is not printable ASCII becomes `?`.
json_text() {
  local text=$1 LC_ALL=C
  text=${text//\\/\\\\}
  text=${text//\"/\\\"}
  REPLY=${text//[^ -~]/?}
}

# usage: log LEVEL REGION MESSAGE
log() {
  local REPLY now=$EPOCHREALTIME
  json_text "$3"
  printf -v now '%(%Y-%m-%dT%H:%M:%S)T.%sZ' "${now%.*}" "${now: -6:3}"
  printf '{"level":"%s","time":"%s","timestamp":"%s","region":"%s","message":"%s"}\n' "$1" "$now" "$now" "$2" "$REPLY"
}
