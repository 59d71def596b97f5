-- The regions' readiness by HAProxy's checks. Writes `health` into the state directory, a line per region: NAME 0|1
-- CHECK, whether the last check passed and HAProxy's check status. Wakes the supervisor through `events`.
--
--   is_ready(region)      whether the region's last check passed
--   ends_connections()    whether connections end with their next response, read twice a second
--   watch()               never returns: run it as a task

local state = require "metrics.state"

local function server(region)
  return core.backends["region-" .. region].servers.plugin
end

-- HAProxy reports a server as up until its first check is complete.
local function passes(stats)
  return stats.status:sub(1, 2) == "UP" and (stats.check_status or ""):find("^%*? ?L[47]OK") ~= nil
end

local function is_ready(region)
  return passes(server(region):get_stats())
end

-- A region that waits for its turn fails its check 20 times a second. If no region is ready this many seconds after the
-- start, each needs longer than that, so the waiting ones are not checked until they start. After check_enable the first
-- check comes within `inter`, 1 s, so readiness is not noticed late.
local LONG_START_SECONDS = 1
local began, is_long_start, any_ready = nil, false, false
local unchecked, row_of = {}, {} -- by region
local ends = false

local function check_only_started()
  local moment = core.now()
  local now = moment.sec + moment.usec / 1e6
  began = began or now
  if not is_long_start then
    is_long_start = not any_ready and now - began >= LONG_START_SECONDS
    return
  end
  local processes = state.processes()
  for _, region in ipairs(state.regions) do
    -- The last check of a region that has just exited may still say ready.
    local waits = processes[region].state == "waiting" and not row_of[region].ready
    if waits ~= (unchecked[region] or false) then
      unchecked[region] = waits
      if waits then
        server(region):check_disable()
      else
        server(region):check_enable()
      end
    end
  end
end

-- A server's statistics have a hundred values, and do not change while it is not checked: do not read them.
local function rows()
  local text, all_ready = {}, true
  for index, region in ipairs(state.regions) do
    if not unchecked[region] then
      local stats = server(region):get_stats()
      local ready, check = passes(stats), (stats.check_status or ""):gsub("[^%w]", "")
      row_of[region] = { ready = ready, text = string.format("%-40s %d %-16s\n", region, ready and 1 or 0, check) }
    end
    local row = row_of[region]
    any_ready, all_ready = any_ready or row.ready, all_ready and row.ready
    text[index] = row.text
  end
  return table.concat(text), all_ready
end

local function watch()
  local written, all_ready
  while true do
    if not all_ready then
      check_only_started()
    end
    ends = ends or state.ends_connections()
    local text
    text, all_ready = rows()
    if text ~= written then
      state.put("health", text)
      state.put("events", "\n")
      written = text
    end
    core.msleep(all_ready and 500 or 50)
  end
end

local function ends_connections()
  return ends
end

return { is_ready = is_ready, ends_connections = ends_connections, watch = watch }
