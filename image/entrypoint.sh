#!/bin/bash -p
# Starts the selected regions, the proxy in front of them and the log writer; starts again what fails; stops them all.
#
# Exit codes: 0 stopped by SIGTERM or SIGINT, 1 a region or a part failed too often, 64 a setting is wrong.
# The supervisor sleeps in `wait -n` until a child ends or a signal comes. `wait -n` only wakes it: what has
# ended is then found by looking at every child, because bash may report one of two that end together.
# Variables are prefixed: the container's environment is imported by bash and must not meet them.
ff_signal='' ff_idle=''
# A signal between the look at ff_signal and `wait -n` would be slept over: while ff_idle is set, the trap itself acts.
trap 'ff_signal=TERM; [[ -z $ff_idle ]] || asked_to_stop' TERM
trap 'ff_signal=INT; [[ -z $ff_idle ]] || asked_to_stop' INT
# Where this is not process 1 (`docker run --init`, a shared process namespace) these would end it.
trap : HUP QUIT USR1 USR2 ALRM PIPE
set -Eeuo pipefail
set +o posix

# usage: _load_parts DIRECTORY
_load_parts() {
  # shellcheck source=lib/log.sh
  source "$1/lib/log.sh"
  # shellcheck source=lib/settings.sh
  source "$1/lib/settings.sh"
  # shellcheck source=lib/streams.sh
  source "$1/lib/streams.sh"
  # shellcheck source=lib/processes.sh
  source "$1/lib/processes.sh"
  # shellcheck source=lib/supervise.sh
  source "$1/lib/supervise.sh"
}

_main() {
  ff_home=${BASH_SOURCE[0]%/*}
  PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  TZ=UTC0 LC_ALL=C
  _load_parts "$ff_home"
  load_settings
  open_streams
  trap 'rescue "$?"' EXIT
  start_log_writer
  start_all_regions
  start_proxy
  watch_health
  supervise
  finish
}

[[ ${BASH_SOURCE[0]} != "$0" ]] || _main
