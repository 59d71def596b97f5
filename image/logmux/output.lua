-- Output: lines are gathered until they are worth a write to stdout. The program has one
-- stdout, so this module has one such gathering.
--
--   emit(line)            gathers the line, which has its newline
--   is_worth_a_write()    whether enough is gathered
--   pending()             what is gathered
--   take()                the same, and nothing is left
--   open(journal, stats)  makes stdout ready; returns what has
--     :flush()              writes all that is gathered, and tells the journal of each write;
--                           waits while stdout is full; false if nobody reads it any more
--     :close()              leaves stdout as it was found

local errno = require "posix.errno"
local fcntl = require "posix.fcntl"
local poll = require("posix.poll").poll
local write = require("posix.unistd").write

local concat, sub = table.concat, string.sub

local FLUSH_BYTES = 64 * 1024
local STDOUT = 1

local pending, pending_count, pending_bytes = {}, 0, 0

local function emit(line)
  pending_count = pending_count + 1
  pending[pending_count] = line
  pending_bytes = pending_bytes + #line
end

local function take()
  local data = concat(pending, "", 1, pending_count)
  if pending_bytes > 4 * FLUSH_BYTES then
    pending = {} -- else the table would keep the longest lines alive
  end
  pending_count, pending_bytes = 0, 0
  return data
end

local function all_pending()
  return concat(pending, "", 1, pending_count)
end

local function is_worth_a_write()
  return pending_bytes >= FLUSH_BYTES
end

local Stdout = {}
Stdout.__index = Stdout

function Stdout.open(journal, stats)
  local self = setmetatable({ journal = journal, stats = stats }, Stdout)
  self.flags = fcntl.fcntl(STDOUT, fcntl.F_GETFL)
  self.poll_set = { [STDOUT] = { events = { OUT = true } } }
  if self.flags then
    -- Non-blocking, so that a write takes no longer than it takes to copy the bytes, and
    -- a kill while a reader is slow meets the program in poll. No effect on files.
    fcntl.fcntl(STDOUT, fcntl.F_SETFL, self.flags | fcntl.O_NONBLOCK)
  end
  return self
end

function Stdout:close()
  if self.flags then
    fcntl.fcntl(STDOUT, fcntl.F_SETFL, self.flags)
  end
end

function Stdout:wait()
  poll(self.poll_set, self.stats:tick())
end

function Stdout:flush()
  if pending_bytes == 0 then
    return true
  end
  local data = take()
  local pos = 1
  while pos <= #data do
    local count, _, code = write(STDOUT, sub(data, pos, pos + FLUSH_BYTES - 1))
    if count then
      self.journal:add_written(count)
      pos = pos + count
    elseif code == errno.EAGAIN then
      self:wait()
    elseif code ~= errno.EINTR then
      return false
    end
  end
  return true
end

return {
  emit = emit, is_worth_a_write = is_worth_a_write, pending = all_pending, take = take,
  open = Stdout.open,
}
