-- The container's memory, as the kernel reports it.
--
--   working_set()    bytes that the kernel cannot reclaim at once, as Kubernetes counts them; nil if unknown
--
-- Format: https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files, and the files of version 1.

local state = require "metrics.state"

local CGROUP = "/sys/fs/cgroup/"
local SOURCES = {
  { usage = CGROUP .. "memory.current", stat = CGROUP .. "memory.stat", cache = "inactive_file (%d+)" },
  {
    usage = CGROUP .. "memory/memory.usage_in_bytes", stat = CGROUP .. "memory/memory.stat",
    cache = "total_inactive_file (%d+)",
  },
}

local function working_set()
  for _, source in ipairs(SOURCES) do
    local usage = tonumber(state.read(source.usage))
    if usage then
      local cache = tonumber((state.read(source.stat) or ""):match("%f[%w_]" .. source.cache)) or 0
      return math.max(0, usage - cache)
    end
  end
end

return { working_set = working_set }
