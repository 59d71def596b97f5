#!/bin/bash -p
# Becomes the supervisor (supervisor.lua) at once: until then process 1 loses a signal. The supervisor runs prepare.sh,
# which checks the settings, makes the streams and writes the proxy's configuration.
#
# Exit codes: 0 stopped by SIGTERM or SIGINT, 1 a region or a part exceeded its restart limit, 64 a setting is wrong.
trap 'exit 0' TERM INT # nothing runs yet
set -Eeuo pipefail
set +o posix
shopt -s lastpipe
# Variables are prefixed: bash imports the container's environment, which must not clash with them.
ff_metrics_port=9090

_main() {
  local -a ff_environ
  ff_home=${BASH_SOURCE[0]%/*}
  PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  mapfile -d '' -t ff_environ </proc/self/environ
  # Through a pipe: bash changes the environment that it passes on, and a command line or a file would show it.
  printf '%s\0' "${ff_environ[@]}" |
    exec lua5.3 -E "$ff_home/supervisor.lua" "home=$ff_home" "metrics_port=$ff_metrics_port" "shell=$BASH"
}

[[ ${BASH_SOURCE[0]} != "$0" ]] || _main
