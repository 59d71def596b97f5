-- Counters of lines and bytes per name, and the file that publishes them.
--
--   Stats.new(dir)       no counters yet; the file is in DIR
--   stats:counter(name)  the counter { lines, bytes } of the name, created if it is new
--   stats.counters       all counters by name; stats.names has the names in order
--   stats:load()         sets the existing counters from the file
--   stats:save()         writes the file
--   stats:touch()        notes that a counter has changed
--   stats:tick()         saves if due; returns the milliseconds that poll may sleep, or -1

local clock = require "logmux.clock"
local files = require "logmux.files"

local format, concat = string.format, table.concat

local STATS_INTERVAL_MS = 1000

local Stats = {}
Stats.__index = Stats

function Stats.new(dir)
  return setmetatable({ path = dir .. "/logmux.stats", names = {}, counters = {}, due = nil }, Stats)
end

function Stats:counter(name)
  local counter = self.counters[name]
  if not counter then
    counter = { lines = 0, bytes = 0 }
    self.names[#self.names + 1] = name
    self.counters[name] = counter
  end
  return counter
end

function Stats:load()
  for name, lines, bytes in string.gmatch(files.read(self.path) or "", "(%S+) (%d+) (%d+)\n") do
    local counter = self.counters[name]
    if counter then
      counter.lines, counter.bytes = math.tointeger(lines), math.tointeger(bytes)
    end
  end
end

-- Errors are ignored: counters are not worth stopping the log on a full disk.
function Stats:save()
  local lines = {}
  for i, name in ipairs(self.names) do
    local counter = self.counters[name]
    lines[i] = format("%s %d %d\n", name, counter.lines, counter.bytes)
  end
  local new_path = self.path .. ".new"
  local file = io.open(new_path, "wb")
  local written = file and file:write(concat(lines))
  if file and file:close() and written then
    os.rename(new_path, self.path)
  end
  self.due = nil
end

function Stats:touch()
  self.due = self.due or clock.uptime() + STATS_INTERVAL_MS
end

function Stats:tick()
  if not self.due then
    return -1
  end
  local left = self.due - clock.uptime()
  if left > 0 then
    return left
  end
  self:save()
  return -1
end

return Stats
