# shellcheck shell=bash
# Reads and validates the settings; an invalid one exits with 64. Sourced by prepare.sh.

readonly FF_EXIT_USAGE=64
readonly FF_PLUGIN_PORT_OFFSET=10000

# usage: bad_setting MESSAGE
bad_setting() {
  log error - "$1"
  exit "$FF_EXIT_USAGE"
}

# usage: read_table FILE    Fills ff_table_regions (in order) and ff_port.
read_table() {
  local region port _
  declare -gA ff_port=()
  declare -ga ff_table_regions=()
  while read -r region port _; do
    [[ -n $region && $region != \#* ]] || continue
    ff_table_regions+=("$region")
    ff_port[$region]=$port
  done <"$1"
}

# usage: select_regions LIST    Fills ff_regions from the comma-separated LIST; with all regions if it is empty.
select_regions() {
  local -a wanted
  local region
  declare -ga ff_regions=()
  if [[ -z ${1//[[:space:]]/} ]]; then
    ff_regions=("${ff_table_regions[@]}")
    return
  fi
  IFS=, read -r -d '' -a wanted <<<"${1//[[:space:]]/}," || true
  for region in "${wanted[@]}"; do
    region=${region//[[:space:]]/}
    [[ -n $region ]] || continue
    [[ -n ${ff_port[$region]:-} ]] ||
      bad_setting "FINFOCUS_REGIONS names $region, which is not in this image: use ${ff_table_regions[*]}"
    [[ " ${ff_regions[*]-} " == *" $region "* ]] || ff_regions+=("$region")
  done
  ((${#ff_regions[@]} > 0)) || bad_setting "FINFOCUS_REGIONS selects no region: use ${ff_table_regions[*]}"
}

# usage: number NAME DEFAULT MINIMUM    Sets REPLY to the whole number in the environment variable NAME.
number() {
  REPLY=${!1:-$2}
  [[ $REPLY =~ ^[0-9]{1,6}$ ]] || bad_setting "$1 is '$REPLY': give a whole number from $3 to 999999"
  REPLY=$((10#$REPLY))
  ((REPLY >= $3)) || bad_setting "$1 is '$REPLY': give a whole number from $3 to 999999"
}

# usage: read_numbers FILE    Fills ff_setting with every number of the settings table: FINFOCUS_MAX_RESTARTS is max_restarts.
read_numbers() {
  local name default minimum kind _
  declare -gA ff_setting=()
  while read -r name default minimum kind _; do
    [[ $name != \#* && ($kind == seconds || $kind == number) ]] || continue
    if [[ $default == processors ]]; then
      processors
      default=$((REPLY > 2 ? REPLY : 2))
    fi
    number "$name" "$default" "$minimum"
    name=${name#FINFOCUS_}
    ff_setting[${name,,}]=$REPLY
  done <"$1"
}

# usage: listening_ports    Fills ff_listening with the TCP ports of the listeners in this network namespace.
# Format: https://www.kernel.org/doc/Documentation/networking/proc_net_tcp.txt (state 0A is LISTEN).
listening_ports() {
  local table row
  local -a rows
  local listening='^ *[0-9]+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} 0A '
  declare -gA ff_listening=()
  for table in /proc/net/tcp /proc/net/tcp6; do
    [[ -r $table ]] || continue
    # Not `read` in a loop: it seeks back after each line, and the kernel then generates the table again. With a few
    # thousand connections, as in the host's network, that took a minute.
    mapfile -t -s 1 -n 4096 rows <"$table"
    # Listening sockets come first.
    for row in "${rows[@]}"; do
      [[ $row =~ $listening ]] || break
      ff_listening[$((16#${BASH_REMATCH[1]}))]=1
    done
  done
}

check_ports() {
  local region port
  listening_ports
  for region in "${ff_regions[@]}"; do
    for port in "${ff_port[$region]}" "$((ff_port[$region] + FF_PLUGIN_PORT_OFFSET))"; do
      [[ -z ${ff_listening[$port]:-} ]] || bad_setting "port $port of $region is in use: free it or leave the region out with FINFOCUS_REGIONS"
    done
  done
  [[ -z ${ff_listening[$ff_metrics_port]:-} ]] || bad_setting "metrics port $ff_metrics_port is in use: free it"
}

# The table lists every region of the release; the image of one region has only that binary.
check_binaries() {
  local region here=''
  for region in "${ff_table_regions[@]}"; do
    [[ ! -x $ff_home/bin/finfocus-plugin-aws-public-$region ]] || here+=" $region"
  done
  for region in "${ff_regions[@]}"; do
    [[ "$here " == *" $region "* ]] ||
      bad_setting "this image has no binary of $region, only of${here:- no region}: select with FINFOCUS_REGIONS, or use the image with all regions"
  done
}

load_settings() {
  read_table "$ff_home/regions"
  select_regions "${FINFOCUS_REGIONS:-}"
  read_numbers "$ff_home/settings"
  [[ ${FINFOCUS_ACCESS_LOG:-false} =~ ^(true|false)$ ]] ||
    bad_setting "FINFOCUS_ACCESS_LOG is '$FINFOCUS_ACCESS_LOG': use true or false"
  check_binaries
  check_ports
}
