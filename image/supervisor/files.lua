-- The files in the state directory, and the streams.
--
--   open(settings)              opens all streams: they stay open when a plugin or the log writer exits, and the next
--                               log writer reads what is left in them
--   files:close_streams()       closes this process's ends of the plugins' streams
--   files:say(action)           logs one JSON line; kept while the log writer's stream is full
--   files:flush()               writes the kept lines; returns whether none is left
--   files:publish(state)        writes the table that `status` and the proxy's metrics read
--   files:end_connections()     makes the proxy end connections with their next response
--   files:health()              the health file, if it changed since the last call: up and check by region; else nil
--   files:remove()              removes the directory
--
-- state      a line per process: NAME KIND STATE PID STARTS FAILURES STARTED_AT READY_SECONDS, `-` for none
-- health     a line per region: NAME 0|1 CHECK, written by metrics.lua
-- last       1 if connections end with their next response, 0 otherwise, for metrics.lua
-- All have a fixed length and are written in place, which works on a full file system.

local dirent = require "posix.dirent"
local fcntl = require "posix.fcntl"
local unistd = require "posix.unistd"
local clock = require "logmux.clock"
local json = require "logmux.json"

local ROW_BYTES, KEPT_LINES = 160, 1000

local Files = {}
Files.__index = Files

local function open(settings)
  local directory = settings.state .. "/"
  local self = setmetatable({ directory = directory, streams = {}, kept = {} }, Files)
  for name in dirent.files(settings.state) do
    if name:find "%.out$" or name:find "%.err$" or name == "proxy" or name == "supervisor" or name == "events" then
      local flags = fcntl.O_RDWR | fcntl.O_NONBLOCK | fcntl.O_CLOEXEC
      self.streams[name] = assert(fcntl.open(directory .. name, flags))
    end
  end
  self.own, self.events = self.streams.supervisor, self.streams.events
  local flags = fcntl.O_RDWR | fcntl.O_CREAT | fcntl.O_CLOEXEC
  self.state_file = assert(fcntl.open(directory .. "state", flags, 384))
  self.health_file = assert(fcntl.open(directory .. "health", flags, 384))
  self.last_file = assert(fcntl.open(directory .. "last", flags, 384))
  unistd.write(self.last_file, "0")
  return self
end

-- The content of a FIFO is lost when no process has it open, and the log writer may need a restart. So the FIFOs stay
-- open for reading, which does not keep their end from being seen.
function Files:close_streams()
  for name, fd in pairs(self.streams) do
    if name ~= "events" then
      fcntl.open(self.directory .. name, fcntl.O_RDONLY | fcntl.O_NONBLOCK | fcntl.O_CLOEXEC)
      if fd ~= self.own then
        unistd.close(fd)
      end
    end
  end
  self.streams, self.closing = {}, true
  self:flush()
end

local function line_of(action)
  local moment, extra = clock.rfc3339(clock.now()), ""
  for name, value in pairs(action.extra or {}) do
    extra = string.format('%s,"%s":%s', extra, name, type(value) == "number" and string.format("%.3f", value) or json.quote(value))
  end
  return string.format('{"level":"%s","time":"%s","timestamp":"%s","region":"%s","message":%s%s}\n',
    action.level, moment, moment, action.region, json.quote(action.message), extra)
end

function Files:say(action)
  if #self.kept < KEPT_LINES then
    self.kept[#self.kept + 1] = line_of(action)
  end
  self:flush()
end

function Files:flush()
  while self.own and self.kept[1] and unistd.write(self.own, self.kept[1]) do
    table.remove(self.kept, 1)
  end
  if self.own and self.closing and not self.kept[1] then
    unistd.close(self.own)
    self.own = nil
  end
  return not self.kept[1]
end

function Files:publish(state)
  local rows = {}
  for _, name in ipairs(state.order) do
    local entry = state.process[name]
    local row = string.format("%s %s %s %s %d %d %s %s", name, entry.kind, entry.state, entry.pid or "-", entry.starts,
      entry.failures, entry.wall and string.format("%.3f", entry.wall) or "-",
      entry.ready_seconds and string.format("%.3f", entry.ready_seconds) or "-")
    rows[#rows + 1] = row .. (" "):rep(ROW_BYTES - 1 - #row) .. "\n"
  end
  unistd.lseek(self.state_file, 0, unistd.SEEK_SET)
  unistd.write(self.state_file, table.concat(rows))
end

function Files:end_connections()
  unistd.lseek(self.last_file, 0, unistd.SEEK_SET)
  unistd.write(self.last_file, "1")
end

function Files:health()
  unistd.lseek(self.health_file, 0, unistd.SEEK_SET)
  local text = unistd.read(self.health_file, 65536)
  if not text or text == self.healthy then
    return nil
  end
  self.healthy = text
  local up, check = {}, {}
  for name, passed, word in text:gmatch "(%S+) +([01]) (%S*) *\n" do
    up[name], check[name] = passed == "1", word
  end
  return up, check
end

function Files:remove()
  for name in dirent.files(self.directory) do
    unistd.unlink(self.directory .. name)
  end
  unistd.rmdir(self.directory)
end

return { open = open, line_of = line_of }
