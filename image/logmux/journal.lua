-- The journal lets a restarted log writer continue where a killed one stopped.
--
--   Journal.new(dir, streams, stats)    a journal in DIR of the streams, the counters and
--                                       the output gathered in output.lua
--   journal:replay(mark)                restores these as a killed run left them
--   journal:renew()                     starts a new journal; returns whether there is one
--                                       now and, if not, whether the disk is full
--   journal:renew_if_long()             the same if it is too long, or if there is none
--   journal:add_read(index, ms, chunk)  records a read, before the stream gets the chunk
--   journal:add_written(bytes)          records a write to stdout
--   journal:remove()                    after a clean exit
--
-- The file has records "KIND A B LENGTH\n" with LENGTH bytes of payload. It begins with
-- a snapshot of the state and continues with every event since:
--   count LINES BYTES        payload: the NAME of the counter
--   stream INDEX CONTINUED   payload: NAME=PATH of the stream that later records call INDEX
--   held INDEX 0             payload: the unfinished line of the stream
--   pending WRITTEN 0        payload: the output that follows the WRITTEN bytes
--   read INDEX MS            payload: what was read from the stream at MS; empty at its end
--   wrote WRITTEN 0          WRITTEN bytes of the output are written
-- WRITTEN counts from the first start. A new journal replaces the old one by a rename,
-- so there is always a complete one. The file `logmux.reserve` only takes up space: on a
-- full disk it is deleted, so that the record that did not fit, and a new journal, do.

local errno = require "posix.errno"
local fcntl = require "posix.fcntl"
local unistd = require "posix.unistd"
local clock = require "logmux.clock"
local files = require "logmux.files"
local output = require "logmux.output"
local Streams = require "logmux.streams"

local format, match, sub, concat = string.format, string.match, string.sub, table.concat
local emit, write = output.emit, unistd.write
local feed, finish, hold = Streams.feed, Streams.finish, Streams.hold

local JOURNAL_BYTES = 1024 * 1024
local RESERVE = ("\0"):rep(64 * 1024)

local Journal = {}
Journal.__index = Journal

function Journal.new(dir, streams, stats)
  return setmetatable({
    path = dir .. "/logmux.journal", reserve_path = dir .. "/logmux.reserve",
    streams = streams, stats = stats, fd = nil, size = 0, limit = 0, written = 0,
    reserved = nil, -- nil: the reserve of a killed run may be there
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

function Journal:keep_reserve()
  if self.reserved then
    return
  end
  local fd = fcntl.open(self.reserve_path, fcntl.O_WRONLY | fcntl.O_CREAT | fcntl.O_TRUNC, 384)
  if fd then
    write(fd, RESERVE) -- a part of it is better than nothing
    unistd.close(fd)
    self.reserved = true
  end
end

function Journal:free_reserve()
  os.remove(self.reserve_path)
  self.reserved, self.limit = false, 0 -- the next renewal frees the space of this journal for it
end

-- A regular file takes a write in full unless the file system is full.
function Journal:write(fd, data)
  local count = write(fd, data) or 0
  if count < #data and self.reserved ~= false then
    self:free_reserve()
    count = count + (write(fd, sub(data, count + 1)) or 0)
  end
  return count == #data
end

-- On a disk that stays full logging continues without a journal until there is space again. An
-- incomplete journal would make a restart write lines twice, so it is deleted.
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
  if not fd or not self:write(fd, data) or not os.rename(new_path, self.path) then
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
  -- Each renewal writes the unfinished lines again, so long ones make renewals rarer.
  self.limit = JOURNAL_BYTES + 2 * #data
  self:keep_reserve()
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
  -- Two writes are faster than joining the strings.
  if not self:write(self.fd, head) or (payload ~= "" and not self:write(self.fd, payload)) then
    self:give_up()
    return false
  end
  self.size = self.size + #head + #payload
  return true
end

function Journal:add_read(index, ms, chunk)
  local head = format("read %d %d %d\n", index, ms, #chunk)
  -- On a full disk, a new journal can use the space of the old one.
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
      return nil -- ignore a record that was cut short by a kill
    end
    pos = math.tointeger(at + length)
    return kind, math.tointeger(a), math.tointeger(b), sub(data, at, pos - 1)
  end
end

-- Output that was not written is gathered again. A stream that is no longer among the
-- arguments is replayed to its end.
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
  os.remove(self.reserve_path)
end

return Journal
