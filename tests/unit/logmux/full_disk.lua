-- A disk of a fixed size under the journal: writes beyond it fail, as on a full tmpfs.
--
-- usage: lua5.3 full_disk.lua IMAGE DIR BYTES: records reads and writes until the disk was full a hundred times.
-- Prints each time the journal was missing, and whether a replay gives the line that was not written.
local image, dir, capacity = arg[1], arg[2], tonumber(arg[3])
package.path = image .. "/?.lua;" .. package.path

local fcntl, unistd = require "posix.fcntl", require "posix.unistd"
local real_open, real_write, real_remove, real_rename = fcntl.open, unistd.write, os.remove, os.rename
local size_of, path_of, used, failures = {}, {}, 0, 0

local function drop(path)
  used, size_of[path] = used - (size_of[path] or 0), nil
end
fcntl.open = function(path, ...)
  drop(path)
  local fd = real_open(path, ...)
  path_of[fd], size_of[path] = path, 0
  return fd
end
os.remove = function(path)
  drop(path)
  return real_remove(path)
end
os.rename = function(from, to)
  drop(to)
  size_of[to], size_of[from] = size_of[from], nil
  for fd, path in pairs(path_of) do
    path_of[fd] = path == from and to or path
  end
  return real_rename(from, to)
end
unistd.write = function(fd, data)
  local room = capacity - used
  if room < #data then
    failures = failures + 1
    data = data:sub(1, room)
  end
  if data == "" then
    return nil, "no space", 28
  end
  used, size_of[path_of[fd]] = used + #data, size_of[path_of[fd]] + #data
  return real_write(fd, data)
end

local Journal, Streams = require "logmux.journal", require "logmux.streams"
local Stats, output = require "logmux.stats", require "logmux.output"

local function make()
  local stats = Stats.new(dir)
  local stream = Streams.new(false, "us-east-1", "p", stats:counter "us-east-1")
  stream.spec = "-us-east-1=p"
  return Journal.new(dir, { stream }, stats), stream
end

local journal, stream = make()
assert(journal:renew())
local number = 0
os.remove = function(path)
  if path:match "journal$" then
    print("missing after line " .. number)
  end
  drop(path)
  return real_remove(path)
end
local function log()
  number = number + 1
  local line = ("line %d\n"):format(number)
  journal:add_read(1, 0, line)
  Streams.feed(stream, line, "mark", "now")
end
while failures < 100 do
  log()
  if number % 7 > 0 then -- else it is still to be written when the next one comes
    journal:add_written(#output.take())
  end
  journal:renew_if_long()
end
log()
local last = output.take()
make():replay "mark"
print(output.take():sub(-#last) == last and "the last line is replayed" or "lost: " .. last)
