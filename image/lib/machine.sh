# shellcheck shell=bash
# CPU and memory available to the container, as the kernel reports them. Sourced by prepare.sh.

# Measured with 140 MB price lists in 158 MB binaries: a region needs 560 MB at startup, four times its list.
readonly FF_CODE_BYTES=18000000 FF_LIST_FACTOR=4 FF_REGION_BYTES=8000000 FF_PARTS_BYTES=30000000
FF_CGROUP=/sys/fs/cgroup

# usage: first_word FILE    Sets REPLY to the first word of FILE; empty if FILE does not exist.
first_word() {
  REPLY=''
  [[ ! -r $1 ]] || read -r REPLY _ <"$1" || true
}

# usage: cpu_set FILE    Sets REPLY to the number of processors in the `Cpus_allowed_list` of FILE, such as `0-3,8`.
# Format: https://man7.org/linux/man-pages/man5/proc_pid_status.5.html
cpu_set() {
  local line part count=0
  while read -r line; do
    [[ $line == Cpus_allowed_list:* ]] || continue
    line=${line#*:}
    for part in ${line//,/ }; do
      count=$((count + ${part#*-} - ${part%-*} + 1))
    done
  done <"$1"
  REPLY=$count
}

# usage: processors    Sets REPLY to the smaller of the container's CPU set and its CPU quota, rounded up.
# Format: https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files; cpu.cfs_quota_us in version 1.
processors() {
  local count quota='' period=''
  cpu_set /proc/self/status && count=$REPLY
  if [[ -r $FF_CGROUP/cpu.max ]]; then
    read -r quota period <"$FF_CGROUP/cpu.max"
  else
    first_word "$FF_CGROUP/cpu/cpu.cfs_quota_us" && quota=$REPLY
    first_word "$FF_CGROUP/cpu/cpu.cfs_period_us" && period=$REPLY
  fi
  REPLY=$count
  [[ $quota =~ ^[1-9][0-9]*$ && $period =~ ^[1-9][0-9]*$ ]] || return 0
  quota=$(((quota + period - 1) / period))
  ((quota >= count)) || REPLY=$quota
}

# usage: memory_limit    Sets REPLY to the container's memory limit in bytes; empty if there is none.
# Format: https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files; memory.limit_in_bytes in version 1.
memory_limit() {
  first_word "$FF_CGROUP/memory.max"
  [[ -n $REPLY ]] || first_word "$FF_CGROUP/memory/memory.limit_in_bytes"
  # Version 1 reports "no limit" as a 19-digit number.
  [[ $REPLY =~ ^[0-9]{1,18}$ ]] || REPLY=''
}

# usage: memory_need    Sets REPLY to the bytes of memory that the selected regions need at startup.
memory_need() {
  local size need=$FF_PARTS_BYTES region
  local -a binaries=() sizes
  for region in "${ff_regions[@]}"; do
    binaries+=("$ff_home/bin/finfocus-plugin-aws-public-$region")
  done
  mapfile -t sizes < <(stat -L -c %s "${binaries[@]}")
  for size in "${sizes[@]}"; do
    need=$((need + FF_REGION_BYTES + (size > FF_CODE_BYTES ? (size - FF_CODE_BYTES) * FF_LIST_FACTOR : 0)))
  done
  REPLY=$need
}

# Warns if the memory limit is lower than what the selected regions need.
check_memory() {
  local victim='one region after another'
  memory_limit && ff_memory_limit=$REPLY
  memory_need && ff_memory_need=$REPLY
  [[ -n $ff_memory_limit ]] && ((ff_memory_limit < ff_memory_need)) || return 0
  # https://docs.kernel.org/admin-guide/cgroup-v2.html: set by Kubernetes 1.28 and later.
  first_word "$FF_CGROUP/memory.oom.group"
  [[ $REPLY != 1 ]] || victim='the whole container'
  log warn - "the memory limit is $((ff_memory_limit >> 20)) MiB and ${#ff_regions[@]} regions need about $((ff_memory_need >> 20)) MiB at startup; when it runs out, the kernel kills $victim: raise the limit, or run fewer regions with FINFOCUS_REGIONS"
}
