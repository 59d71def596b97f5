#!/bin/bash -p
# Checks the settings, makes the streams and the proxy's configuration, then becomes the supervisor (supervisor.lua).
#
# Exit codes: 0 stopped by SIGTERM or SIGINT, 1 a region or a part exceeded its restart limit, 64 a setting is wrong.
# Variables are prefixed: bash imports the container's environment, which must not clash with them.
ff_signal='' ff_metrics_port=9090
# A signal during the preparation stops the container as soon as the supervisor runs.
trap 'ff_signal=SIGTERM' TERM
trap 'ff_signal=SIGINT' INT
# Where this is not process 1 (`docker run --init`, a shared process namespace) these would end it.
trap : HUP QUIT USR1 USR2 ALRM PIPE
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
  # shellcheck source=lib/prepare.sh
  source "$1/lib/prepare.sh"
}

_main() {
  ff_home=${BASH_SOURCE[0]%/*}
  PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  TZ=UTC0 LC_ALL=C
  _load_parts "$ff_home"
  load_settings
  check_memory
  make_streams
  write_proxy_config
  become_supervisor
}

[[ ${BASH_SOURCE[0]} != "$0" ]] || _main
