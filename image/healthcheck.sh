#!/bin/bash
# Succeeds, without output, if every selected region responds on its public port; otherwise lists the others and exits 1.
# Sends all requests before it reads the first response. Uses bash builtins only: a probe is one process.
set -uo pipefail

# usage: load_regions FILE    Fills ports[region] for the regions in FINFOCUS_REGIONS (all if empty).
load_regions() {
  local region port rest
  while read -r region port rest; do
    [[ -n $region && $region != \#* ]] || continue
    [[ -z ${FINFOCUS_REGIONS:-} || ,${FINFOCUS_REGIONS//[[:space:]]/}, == *,"$region",* ]] || continue
    ports[$region]=$port
  done <"$1"
}

# Sends a request to every region; sockets[region] is the open connection.
send_all() {
  local region socket request=$'GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'
  for region in "${!ports[@]}"; do
    if { exec {socket}<>"/dev/tcp/127.0.0.1/${ports[$region]}"; } 2>/dev/null; then
      printf '%s' "$request" >&"$socket"
      sockets[$region]=$socket
    fi
  done
}

# usage: answers REGION
# With the health endpoint the status must be 200; without it, any status below 500 shows that the plugin serves.
answers() {
  local status _
  [[ -n ${sockets[$1]:-} ]] || return 1
  read -r -t 4 _ status _ <&"${sockets[$1]}" || return 1
  [[ $status == 200 ]] || { [[ ${FINFOCUS_PLUGIN_HEALTH_ENDPOINT:-} != true && $status =~ ^[1-4][0-9][0-9]$ ]]; }
}

_main() {
  local -A ports=() sockets=()
  local -a failed=()
  local region
  load_regions "${BASH_SOURCE[0]%/*}/regions"
  send_all
  for region in "${!ports[@]}"; do
    answers "$region" || failed+=("$region")
  done
  ((${#failed[@]} == 0)) && ((${#ports[@]} > 0)) && return 0
  printf 'unhealthy: %s\n' "${failed[*]:-no region is selected}"
  return 1
}

[[ ${BASH_SOURCE[0]} != "$0" ]] || _main
