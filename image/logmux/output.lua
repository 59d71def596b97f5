-- The output buffer: gathers lines until a write to stdout is worthwhile. The program has
-- one stdout, so this module has one buffer.
--
--   emit(line)            adds a line, with its newline
--   is_worth_a_write()    whether the buffer is large enough to write
--   pending()             the content of the buffer
--   take()                the same, and empties the buffer
--   open(journal, stats)  prepares stdout; returns an object with
--     :flush()              writes the buffer and records each write in the journal; blocks
--                           while stdout is full; returns false if stdout is closed
--     :close()              restores the flags of stdout

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
    pending = {} -- otherwise the table keeps the longest lines in memory
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
    -- Non-blocking, so that a write takes only as long as copying the bytes, and a kill
    -- while the reader is slow hits the program in poll. No effect on files.
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
