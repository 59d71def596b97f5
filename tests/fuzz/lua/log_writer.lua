-- Runs image/logmux.lua unmodified, in memory: this file simulates files, streams, clock and kills.
-- usage: load(this)(PROGRAM, COVER) returns run(data, own, disk_full, chunk, write_limit, kill_every),
--        which returns the output, the text of the counters and the exit status.

local program, cover = ...
local STREAM, STREAM_FD, FIRST_FD, STDOUT = "stream", 10, 20, 1
local EINTR, EAGAIN, ENOSPC = 4, 11, 28
local MAX_KILLS = 5
local PATH = package.path
local world

-- A kill is a coroutine that is never resumed, so everything in the program's memory is lost.
local function call()
  world.calls = world.calls + 1
  if world.kill_every > 0 and world.kills < MAX_KILLS and world.calls >= world.kill_every then
    world.calls, world.kills = 0, world.kills + 1
    coroutine.yield("killed")
  end
end

local function content(path)
  local file = world.files[path]
  return file and table.concat(file)
end

package.loaded["posix.errno"] = { EINTR = EINTR, EAGAIN = EAGAIN, ENOSPC = ENOSPC }
package.loaded["posix.signal"] = { signal = function() end }
package.loaded["posix.fcntl"] = {
  O_RDONLY = 0, O_WRONLY = 1, O_CREAT = 64, O_TRUNC = 512, O_NONBLOCK = 2048, F_GETFL = 3, F_SETFL = 4,
  fcntl = function() return 0 end,
  open = function(path)
    if path == STREAM then
      return STREAM_FD
    end
    world.next_fd = world.next_fd + 1
    world.files[path] = {}
    world.fds[world.next_fd] = world.files[path]
    return world.next_fd
  end,
}
package.loaded["posix.poll"] = {
  poll = function(set)
    call()
    for _, entry in pairs(set) do
      entry.revents = { IN = entry.events.IN, OUT = entry.events.OUT }
    end
    return 1
  end,
}
package.loaded["posix.time"] = {
  CLOCK_REALTIME = 0, CLOCK_MONOTONIC = 1,
  clock_gettime = function(clock)
    world.ticks = world.ticks + clock
    return { tv_sec = clock == 0 and 1764000000 or world.ticks // 4, tv_nsec = 250000000 }
  end,
}

local function read()
  call()
  world.turn = not world.turn
  if world.chunk % 2 == 1 and world.turn then
    return nil, "again", EAGAIN
  end
  local last = world.chunk == 0 and #world.data or world.pos + world.chunk - 1
  local piece = world.data:sub(world.pos, last)
  world.pos = world.pos + #piece
  return piece
end

local function write(fd, data)
  if fd ~= STDOUT then
    if world.disk_full then
      return nil, "no room", ENOSPC
    end
    table.insert(world.fds[fd], data)
    return #data
  end
  call()
  world.turn = not world.turn
  if world.write_limit > 0 and world.turn then
    return nil, "again", world.write_limit % 2 == 0 and EAGAIN or EINTR
  end
  local piece = world.write_limit > 0 and data:sub(1, world.write_limit) or data
  table.insert(world.output, piece)
  return #piece
end

package.loaded["posix.unistd"] = { read = read, write = write, close = function() end }

io.open = function(path, mode)
  if mode == "rb" then
    local text = content(path)
    return text and { read = function() return text end, close = function() end }
  end
  local parts = {}
  return {
    write = function(_, text)
      table.insert(parts, text)
      return not world.disk_full
    end,
    close = function()
      world.files[path] = parts
      return true
    end,
  }
end
io.stdout = { write = function(_, text) table.insert(world.output, text) end, flush = function() end }
os.rename = function(from, to)
  world.files[to], world.files[from] = world.files[from], nil
  return true
end
os.remove = function(path) world.files[path] = nil end
os.exit = function(status) coroutine.yield("exit", status) end

return function(data, own, disk_full, chunk, write_limit, kill_every)
  world = {
    data = data, pos = 1, files = {}, fds = {}, next_fd = FIRST_FD, output = {}, turn = false, ticks = 0,
    calls = 0, kills = 0, disk_full = disk_full, chunk = chunk, write_limit = write_limit, kill_every = kill_every,
  }
  arg = { [0] = "logmux.lua", "--mark", "b7c1f0", "--state", "dir" }
  if own then
    arg[#arg + 1] = "--own"
  end
  arg[#arg + 1] = "us-east-1=" .. STREAM
  local status, why
  repeat
    package.path = PATH
    local life = coroutine.create(program)
    cover(life)
    local ok
    ok, why, status = coroutine.resume(life)
    assert(ok, why)
  until why ~= "killed"
  return table.concat(world.output), content("dir/logmux.stats") or "", status or 0
end
