#!/bin/bash -p
# Validates the settings, creates the FIFOs and writes the proxy's configuration; the supervisor runs it.
#
#   prepare.sh METRICS_PORT    writes the supervisor's settings to descriptor 3, one per line
#
# Exit code 64: invalid setting; the last line on stdout names it.
set -Eeuo pipefail
set +o posix

# usage: _load_parts DIRECTORY
_load_parts() {
  # shellcheck source=lib/log.sh
  source "$1/lib/log.sh"
  # shellcheck source=lib/machine.sh
  source "$1/lib/machine.sh"
  # shellcheck source=lib/settings.sh
  source "$1/lib/settings.sh"
  # shellcheck source=lib/state.sh
  source "$1/lib/state.sh"
}

# usage: _main METRICS_PORT
# The prefix avoids clashes with the container's environment, which bash imports.
_main() {
  ff_home=${BASH_SOURCE[0]%/*} ff_metrics_port=$1
  PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  TZ=UTC0 LC_ALL=C
  _load_parts "$ff_home"
  load_settings
  check_memory
  limit_connections
  limit_requests
  make_streams
  write_proxy_config
  print_settings >&3
}

[[ ${BASH_SOURCE[0]} != "$0" ]] || _main "$1"
