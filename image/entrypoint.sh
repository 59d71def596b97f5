#!/bin/bash -p
# Replaces itself with the supervisor (supervisor.lua) at once: until then, signals to process 1 are lost. The supervisor
# runs prepare.sh, which validates the settings, creates the FIFOs and writes the proxy's configuration.
#
# Exit codes: 0 stopped by SIGTERM or SIGINT, 1 a process exceeded its restart limit, 64 invalid setting.
trap 'exit 0' TERM INT # nothing is running yet
set -Eeuo pipefail
set +o posix
shopt -s lastpipe
# The prefix avoids clashes with the container's environment, which bash imports.
ff_metrics_port=9090

_main() {
  local -a ff_environ
  ff_home=${BASH_SOURCE[0]%/*}
  PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  mapfile -d '' -t ff_environ </proc/self/environ
  # Through a pipe, because bash changes the environment of its children, and arguments or a file would expose it.
  printf '%s\0' "${ff_environ[@]}" |
    exec lua5.3 -E "$ff_home/supervisor.lua" "home=$ff_home" "metrics_port=$ff_metrics_port" "shell=$BASH"
}

[[ ${BASH_SOURCE[0]} != "$0" ]] || _main
