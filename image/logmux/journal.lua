-- The journal: what a program that was killed needs to go on where it was.
--
--   Journal.new(dir, streams, stats)    the state in DIR of these streams, of the counters
--                                       and of what output.lua has gathered
--   journal:replay(mark)                brings all of these to where a killed run left them
--   journal:renew()                     begins a new one; whether there is one now, and if
--                                       not, whether that is because the disk is full
--   journal:renew_if_long()             the same when it is time to, or when there is none
--   journal:add_read(index, ms, chunk)  for each read, before the chunk is fed to its stream
--   journal:add_written(bytes)          for each write to stdout
--   journal:remove()                    after a clean end
--
-- It is a file of records "KIND A B LENGTH\n" with LENGTH bytes of payload. It begins with
-- the state when it was made and goes on with what happened since:
--   count LINES BYTES        payload: the NAME they were counted for
--   stream INDEX CONTINUED   payload: NAME=PATH, what later records mean by INDEX
--   held INDEX 0             payload: the unfinished line of the stream
--   pending WRITTEN 0        payload: output not yet written; WRITTEN bytes were
--   read INDEX MS            payload: what was read from the stream at MS; none: its end
--   wrote WRITTEN 0          so much of the output is written
-- WRITTEN counts from the very first start. A new journal replaces the old by a rename,
-- so at any moment there is a complete one.

local errno = require "posix.errno"
local fcntl = require "posix.fcntl"
local unistd = require "posix.unistd"
local clock = require "logmux.clock"
local files = require "logmux.files"
local output = require "logmux.output"
local Streams = require "logmux.streams"

local format, match, sub, concat = string.format, string.match, string.sub, table.concat
local emit, write_all = output.emit, files.write_all
local feed, finish, hold = Streams.feed, Streams.finish, Streams.hold

local JOURNAL_BYTES = 1024 * 1024

local Journal = {}
Journal.__index = Journal

function Journal.new(dir, streams, stats)
  return setmetatable({
    path = dir .. "/logmux.journal", streams = streams, stats = stats,
    fd = nil, size = 0, limit = 0, written = 0,
  }, Journal)
end

local function record(kind, a, b, payload)
  return format("%s %d %d %d\n", kind, a, b, #payload) .. payload
end

function Journal:snapshot()
  local records = {}
  for _, name in ipairs(self.stats.names) do
    local counter = self.stats.counters[name]
    records[#records + 1] = record("count", counter.lines, counter.bytes, name)
  end
  for i, stream in ipairs(self.streams) do
    records[#records + 1] = record("stream", i, stream.continued and 1 or 0, stream.spec)
    if stream.held_bytes > 0 then
      records[#records + 1] = record("held", i, 0, concat(stream.held))
    end
  end
  records[#records + 1] = record("pending", self.written, 0, output.pending())
  return concat(records)
end

-- Without room the log goes on without a safety net, and has one again when there is room. A
-- journal that ends too early would make a restart write lines twice, so it goes.
function Journal:give_up()
  if self.fd then
    unistd.close(self.fd)
    self.fd = nil
  end
  os.remove(self.path)
end

function Journal:renew()
  local new_path = self.path .. ".new"
  local fd, _, code = fcntl.open(new_path, fcntl.O_WRONLY | fcntl.O_CREAT | fcntl.O_TRUNC, 384)
  local data = self:snapshot()
  if not fd or not write_all(fd, data) or not os.rename(new_path, self.path) then
    if fd then
      unistd.close(fd)
    end
    self:give_up()
    return false, fd ~= nil or code == errno.ENOSPC
  end
  if self.fd then
    unistd.close(self.fd)
  end
  self.fd, self.size = fd, #data
  -- A long unfinished line is written again with each renewal: the longer, the rarer.
  self.limit = JOURNAL_BYTES + 2 * #data
  return true
end

function Journal:renew_if_long()
  if not self.fd or self.size > self.limit then
    self:renew()
  end
end

function Journal:append(head, payload)
  if not self.fd then
    return false
  end
  -- Two writes: joining them first would take longer than the second call.
  if not write_all(self.fd, head) or (payload ~= "" and not write_all(self.fd, payload)) then
    self:give_up()
    return false
  end
  self.size = self.size + #head + #payload
  return true
end

function Journal:add_read(index, ms, chunk)
  local head = format("read %d %d %d\n", index, ms, #chunk)
  -- Where the disk is full, a new journal has the room of the old one, which is gone.
  if self.fd and not self:append(head, chunk) and self:renew() then
    self:append(head, chunk)
  end
end

function Journal:add_written(bytes)
  self.written = self.written + bytes
  self:append(format("wrote %d 0 0\n", self.written), "")
end

local function each_record(data)
  local pos = 1
  return function()
    local kind, a, b, length, at = match(data, "^(%l+) (%d+) (%d+) (%d+)\n()", pos)
    if not kind or at + length - 1 > #data then
      return nil -- a record cut short by a kill is as good as none
    end
    pos = math.tointeger(at + length)
    return kind, math.tointeger(a), math.tointeger(b), sub(data, at, pos - 1)
  end
end

-- What was not yet written is gathered again. A stream that is no longer among the arguments
-- is played to its end.
function Journal:replay(mark)
  local data = files.read(self.path)
  if not data then
    return
  end
  local streams, known, now = {}, {}, clock.rfc3339(0)
  for _, stream in ipairs(self.streams) do
    known[stream.spec] = stream
  end
  local made, written = 0, 0
  for kind, a, b, payload in each_record(data) do
    if kind == "count" then
      local counter = self.stats:counter(payload)
      counter.lines, counter.bytes = a, b
    elseif kind == "stream" then
      local own, name, path = match(payload, "^(.)([^=]+)=(.*)$")
      streams[a] = known[payload] or Streams.new(own == "+", name, path, self.stats:counter(name))
      streams[a].continued = b == 1
    elseif kind == "held" then
      hold(streams[a], payload)
    elseif kind == "pending" then
      made, written = a, a
      emit(payload)
    elseif kind == "read" then
      now = clock.rfc3339(b)
      if payload == "" then
        finish(streams[a], mark, now)
      else
        feed(streams[a], payload, mark, now)
      end
    elseif kind == "wrote" then
      written = a
    end
  end
  for _, stream in ipairs(streams) do
    if not known[stream.spec] then
      finish(stream, mark, now)
    end
  end
  self.written = written
  emit(sub(output.take(), written - made + 1))
end

function Journal:remove()
  self:give_up()
end

return Journal
