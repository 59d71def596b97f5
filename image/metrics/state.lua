-- Reads what the supervisor and the log writer publish in the state directory.
--
--   directory           the path, from the environment (FF_STATE_DIR)
--   regions             the selected regions in the order of the table, from the environment (FF_REGIONS "region ...")
--   read(path)          the text of a file, nil if it does not exist
--   put(name, text)     overwrites the start of a file in place with one write, which works on a full file system
--   processes()         by name: { state, pid, starts, failures, started_at, ready_seconds }, from `state`; an unknown
--                       name gives an entry without a state. Format: supervisor/files.lua
--   ends_connections()  whether connections end with their next response, from `last`
--   log_counts()        by region: { lines, bytes }, from `logmux.stats`. Format: logmux.lua

local directory = os.getenv("FF_STATE_DIR")
local regions = {}
for region in os.getenv("FF_REGIONS"):gmatch("%S+") do
  regions[#regions + 1] = region
end

local ROW = ("(%S+) "):rep(7) .. "(%S+)"
local WITHOUT_ROW = { __index = function() return { starts = 0, failures = 0 } end }

local function read(path)
  local file = io.open(path, "r")
  if not file then
    return nil
  end
  local text = file:read("a")
  file:close()
  return text
end

local function put(name, text)
  local file = io.open(directory .. "/" .. name, "r+")
  if file then
    file:write(text)
    file:close()
  end
end

local function processes()
  local found = setmetatable({}, WITHOUT_ROW)
  for line in (read(directory .. "/state") or ""):gmatch("[^\n]+") do
    local name, _, state, pid, starts, failures, started_at, ready_seconds = line:match(ROW)
    if name then
      found[name] = {
        state = state, pid = tonumber(pid), starts = tonumber(starts) or 0, failures = tonumber(failures) or 0,
        started_at = tonumber(started_at), ready_seconds = tonumber(ready_seconds),
      }
    end
  end
  return found
end

local function ends_connections()
  return read(directory .. "/last") == "1"
end

local function log_counts()
  local counts = {}
  for name, lines, bytes in (read(directory .. "/logmux.stats") or ""):gmatch("(%S+) (%d+) (%d+)") do
    counts[name] = { lines = lines, bytes = bytes }
  end
  return counts
end

return {
  directory = directory, regions = regions, read = read, put = put, processes = processes, log_counts = log_counts,
  ends_connections = ends_connections,
}
