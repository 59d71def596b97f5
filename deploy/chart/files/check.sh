# shellcheck shell=bash
# Checks every Service of the release; the pod of `helm test` runs it with the image's bash.
# usage: bash -c "$(cat check.sh)" check HOST PORT PATH [HOST PORT PATH]...
set -uo pipefail

# usage: answers HOST PORT PATH    Succeeds if the answer has a status below 500 within 5 s.
# A plugin without its health endpoint answers 404; the proxy answers 503 for a region that is down.
answers() {
  local socket status _
  { exec {socket}<>"/dev/tcp/$1/$2"; } 2>/dev/null || return 1
  printf 'GET %s HTTP/1.1\r\nHost: check\r\nConnection: close\r\n\r\n' "$3" >&"$socket"
  read -r -t 5 _ status _ <&"$socket"
  exec {socket}>&-
  [[ ${status:-} =~ ^[1-4][0-9][0-9]$ ]]
}

# usage: answers_in_time HOST PORT PATH    A network that enforces policies blocks a new pod until it knows its address.
answers_in_time() {
  until answers "$@"; do
    ((SECONDS < ${CHECK_SECONDS:-30})) || return 1
    sleep 1
  done
}

failed=0
while (($# > 2)); do
  if answers_in_time "$1" "$2" "$3"; then
    printf 'ok %s:%s%s\n' "$1" "$2" "$3"
  else
    printf 'failed %s:%s%s\n' "$1" "$2" "$3"
    failed=1
  fi
  shift 3
done
exit "$failed"
