#!/usr/bin/env bash
# Downloads and verifies the release tarballs of all regions in parallel; reports every region that fails.
# usage: VERSION=v0.1.5 [TARGETARCH=amd64] [WITHOUT="REGION ..."] [CHECKSUMS_SHA256=HEX] RELEASE_BASE_URL=... \
#     download.sh REGIONS_FILE OUTPUT_DIR
#
# OUTPUT_DIR/regions is the image's regions table: REGIONS_FILE without the regions in WITHOUT.
# OUTPUT_DIR/{region}/opt/finfocus/bin/finfocus-plugin-aws-public-{region} is the content of one image layer:
# owner root, mode 0755 and a fixed time, so that the same inputs produce the same layer.
set -Eeuo pipefail

readonly WITHOUT=${WITHOUT:-}
readonly NAME=finfocus-plugin-aws-public
readonly CHECKSUMS_SHA256=${CHECKSUMS_SHA256:-}
readonly ATTEMPTS=${DOWNLOAD_ATTEMPTS:-5}
readonly LAYER_TIME='2020-01-01 00:00:00'

# usage: fail MESSAGE
fail() {
  printf 'error: %s\n' "$1" >&2
  exit 1
}

# Prints the architecture of the binaries in Docker's notation: TARGETARCH, or this machine's if the classic
# builder leaves it empty.
target_arch() {
  case ${TARGETARCH:-$(uname -m)} in
    amd64 | x86_64) printf 'amd64' ;;
    arm64 | aarch64) printf 'arm64' ;;
    *) fail "architecture ${TARGETARCH:-$(uname -m)} has no release: use amd64 or arm64" ;;
  esac
}

# usage: asset_name REGION ARCH
asset_name() {
  local -A names=([amd64]=x86_64 [arm64]=arm64)
  printf '%s_%s_Linux_%s_%s.tar.gz' "$NAME" "${VERSION#v}" "${names[$2]}" "$1"
}

# usage: note_left_out REGION
note_left_out() {
  local note=$output_dir/$1/opt/finfocus/left-out/$1
  mkdir -p "${note%/*}"
  printf '%s was left out by the build argument WITHOUT\n' "$1" >"$note"
  chmod 0644 "$note"
  find "$output_dir/$1" -exec touch -d "$LAYER_TIME" {} +
}

# usage: select_regions REGIONS_FILE
# Sets regions to those of the table that are not in WITHOUT (separated by spaces or commas), and writes the image's
# table. The layer of a region that is left out has only a note: the Dockerfile copies a layer for every region, and
# the classic builder fails after an empty copy ("failed to get layer").
select_regions() {
  local region
  local -a all without
  mapfile -t all < <(awk '!/^#/ && NF { print $1 }' "$1")
  read -r -d '' -a without <<<"${WITHOUT//,/ }" || true
  for region in ${without[@]+"${without[@]}"}; do
    [[ " ${all[*]} " == *" $region "* ]] || fail "WITHOUT has an unknown region, $region: use ${all[*]}"
  done
  regions=()
  for region in "${all[@]}"; do
    if [[ " ${without[*]-} " == *" $region "* ]]; then note_left_out "$region"; else regions+=("$region"); fi
  done
  ((${#regions[@]} > 0)) || fail 'WITHOUT leaves out every region: an image needs at least one'
  mkdir -p "$output_dir"
  awk -v without=" ${without[*]-} " '/^#/ || !NF || !index(without, " " $1 " ")' "$1" >"$output_dir/regions"
}

# Only transient failures are retried: HTTP 429, 5xx and broken connections. Any other status is final.
# usage: may_pass WGET_OUTPUT
may_pass() {
  [[ ! $1 =~ HTTP/[0-9.]+[[:space:]]+([0-9]+) ]] || ((BASH_REMATCH[1] == 429 || BASH_REMATCH[1] >= 500))
}

# usage: fetch URL FILE
fetch() {
  local attempt output
  for ((attempt = 1; ; attempt++)); do
    if output=$(timeout 900 wget -q -O "$2" "$1" 2>&1); then return 0; fi
    output=${output//$'\n'/ }
    if ! may_pass "$output"; then
      printf '%s' "$output"
      return 1
    fi
    if ((attempt >= ATTEMPTS)); then
      printf '%s (after %d attempts)' "$output" "$attempt"
      return 1
    fi
    sleep "$((1 << (attempt - 1)))"
  done
}

# Accepts only lines in the format of sha256sum(1), as harness/build/assets.py does.
# usage: expected_checksum ASSET CHECKSUMS_FILE
expected_checksum() {
  awk -v asset="$1" '
    { sub(/\r$/, "") }
    /^[ \t]/ || NF != 2 || length($1) != 64 || $1 ~ /[^0-9a-fA-F]/ { next }
    $2 == asset || $2 == "*" asset { print tolower($1); exit }
  ' "$2"
}

# The provenance lists the assets that were checked before the build, so no others may get into the image.
check_checksums() {
  local actual
  [[ -n $CHECKSUMS_SHA256 ]] || return 0
  actual=$(sha256sum "$work/checksums.txt")
  [[ ${actual%% *} != "$CHECKSUMS_SHA256" ]] || return 0
  rm -rf "$work"
  fail "checksums.txt of $VERSION has SHA-256 ${actual%% *}, expected $CHECKSUMS_SHA256: the release was replaced; build again"
}

# usage: elf_problem FILE ARCH
# Prints why FILE is not an executable for ARCH; nothing if it is one (ELF-64 header: magic, class, e_type at 16,
# e_machine at 18).
elf_problem() {
  local -A machines=([amd64]=3e00 [arm64]=b700)
  local header
  header=$(od -A n -v -t x1 -N 20 "$1" | tr -d ' \n')
  if [[ ${header:0:8} != 7f454c46 ]]; then
    printf 'not an ELF file'
  elif [[ ${header:8:2} != 02 || ! ${header:32:4} =~ ^0[23]00$ ]]; then
    printf 'not a 64-bit ELF executable'
  elif [[ ${header:36:4} != "${machines[$2]}" ]]; then
    printf 'built for another architecture than %s' "$2"
  fi
}

# usage: unpack TARBALL REGION ARCH
# Puts the binary into the region's layer, or prints the problem and returns 1.
unpack() {
  local tarball=$1 region=$2 arch=$3 binary=$NAME-$2 members member problem target
  target=$output_dir/$region/opt/finfocus/bin/$binary
  if ! members=$(tar -tzf "$tarball" 2>/dev/null); then
    printf 'the tarball is damaged'
    return 1
  fi
  if grep -Eq '^/|(^|/)\.\.(/|$)' <<<"$members"; then
    printf 'the tarball has a path that leaves its directory'
    return 1
  fi
  member=$(grep -Ex -m 1 "(\./)?$binary" <<<"$members" || true)
  if [[ -z $member ]]; then
    printf 'the tarball has no %s' "$binary"
    return 1
  fi
  mkdir -p "${target%/*}"
  tar -xzOf "$tarball" "$member" >"$target"
  problem=$(elf_problem "$target" "$arch")
  if [[ -n $problem ]]; then
    printf '%s is %s' "$binary" "$problem"
    return 1
  fi
  chmod 0755 "$target"
  find "$output_dir/$region" -exec touch -d "$LAYER_TIME" {} +
}

# usage: prepare REGION ARCH
# Creates the region's layer; prints the problem if it fails.
prepare() {
  local region=$1 arch=$2 asset expected actual
  asset=$(asset_name "$region" "$arch")
  expected=$(expected_checksum "$asset" "$work/checksums.txt")
  if [[ -z $expected ]]; then
    printf '%s is not in checksums.txt' "$asset"
    return
  fi
  fetch "$url/$asset" "$work/$asset" || {
    printf ' [%s]' "$asset"
    return
  }
  actual=$(sha256sum "$work/$asset")
  if [[ ${actual%% *} != "$expected" ]]; then
    printf '%s does not match its checksum in checksums.txt' "$asset"
    return
  fi
  unpack "$work/$asset" "$region" "$arch" || return 0
  rm "$work/$asset"
}

# usage: download REGION ARCH
# Runs prepare; its problem goes to $work/REGION.problem. The harness counts the lines for its progress.
download() {
  prepare "$1" "$2" >"$work/$1.problem"
  [[ -s $work/$1.problem ]] || printf 'downloaded %s\n' "$(asset_name "$1" "$2")"
}

# Prints how to build without the missing regions, if nothing else is wrong. Reads bad, missing and regions.
remedy() {
  ((bad == ${#missing[@]} && bad < ${#regions[@]})) || return 0
  read -r -d '' -a missing <<<"${WITHOUT//,/ } ${missing[*]}" || true
  printf '. To build without the missing regions: --build-arg WITHOUT="%s"' "${missing[*]}"
}

_main() {
  [[ -n ${VERSION:-} ]] || fail 'VERSION is missing: pass --build-arg VERSION=v0.1.5'
  local arch region message bad=0
  local -a regions missing=()
  output_dir=$2
  select_regions "$1"
  work=$(mktemp -d) url=$RELEASE_BASE_URL/$VERSION
  arch=$(target_arch)
  message=$(fetch "$url/checksums.txt" "$work/checksums.txt") || fail "checksums.txt of $VERSION: $message"
  check_checksums
  for region in "${regions[@]}"; do
    download "$region" "$arch" &
  done
  wait
  for region in "${regions[@]}"; do
    message=$(<"$work/$region.problem")
    if [[ -n $message || ! -x $output_dir/$region/opt/finfocus/bin/$NAME-$region ]]; then
      printf 'error: %s: %s\n' "$region" "${message:-failed without a message}" >&2
      bad=$((bad + 1))
      [[ ! $message =~ ( 404 |'is not in checksums.txt') ]] || missing+=("$region")
    fi
  done
  rm -rf "$work"
  ((bad == 0)) || fail "$bad of ${#regions[@]} regions of $VERSION ($arch) cannot be built; see above$(remedy)"
}

[[ ${BASH_SOURCE[0]} != "$0" ]] || _main "$@"
