# shellcheck shell=bash
# Logging for prepare.sh: one JSON object per line on stdout.

# usage: json_text TEXT    Sets REPLY to TEXT escaped for a JSON string; anything but printable ASCII becomes `?`.
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
