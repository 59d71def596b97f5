-- Starts, signals and reaps processes. Each child holds one end of a pipe, its lifeline; `poll` wakes when it exits.
--
--   spawn(run)           calls run(WRITER) in a child, which must end in exec -> process ID, READER of that pipe; or nil
--                        and the reason
--   start(command)       { path, arguments, out, err, mark, environ, expendable } -> process ID, lifeline; or nil, reason
--   kill(pid, signal)    by the signal's name; no error if the process has exited
--   status_of(how, code) the shell's exit status for the results of `wait`
--   reap()               process ID and status of one exited child, adopted orphans included; nil if there is none
--   listens(port)        whether something accepts connections on 127.0.0.1:port
--   is_stopped(pid)      whether SIGSTOP has stopped it
--   kill_strays(kept)    kills every process except `kept` (a set of process IDs), if this is process 1

local dirent = require "posix.dirent"
local fcntl = require "posix.fcntl"
local signals = require "posix.signal"
local socket = require "posix.sys.socket"
local stdlib = require "posix.stdlib"
local unistd = require "posix.unistd"
local wait = require "posix.sys.wait"

local CANNOT_EXECUTE, CONNECT_MICROSECONDS = 126, 10000

-- When memory runs out, the kernel should kill a plugin rather than the proxy or the log writer, which serve all
-- regions. Any process may raise its own oom_score_adj (proc(5)). Not on Kubernetes: since 1.28, with cgroup version 2,
-- the kernel kills the whole container (memory.oom.group), and without requests and limits every process has the maximum.
local function offer_to_oom_killer()
  local file = io.open("/proc/self/oom_score_adj", "r+")
  if file then
    local score = file:read "n" or 0
    file:seek "set"
    file:write(math.min(1000, score + 100))
    file:close()
  end
end

local function redirect(path, flags, fd)
  local opened = assert(fcntl.open(path, flags))
  if opened ~= fd then
    unistd.dup2(opened, fd)
    unistd.close(opened)
  end
end

-- Runs in the child. The supervisor's own descriptors are close-on-exec.
local function become(command)
  -- Its own process group: Ctrl+C on a terminal reaches only the supervisor, which stops the others in order.
  unistd.setpid("p", 0, 0)
  redirect("/dev/null", fcntl.O_RDONLY, unistd.STDIN_FILENO)
  if command.out then
    redirect(command.out, fcntl.O_WRONLY, unistd.STDOUT_FILENO)
  end
  if command.err then
    redirect(command.err, fcntl.O_WRONLY, unistd.STDERR_FILENO)
  else
    unistd.dup2(unistd.STDOUT_FILENO, unistd.STDERR_FILENO)
  end
  if command.expendable then
    offer_to_oom_killer()
  end
  for fd = 1, command.mark and 2 or 0 do
    unistd.write(fd, command.mark)
  end
  for name, value in pairs(command.environ or {}) do
    stdlib.setenv(name, value)
  end
  local _, reason = unistd.exec(command.path, command.arguments)
  unistd.write(2, string.format('{"level":"error","message":"cannot start %s: %s"}\n', command.path, reason))
end

local function spawn(run)
  local reader, writer = unistd.pipe()
  if not reader then
    return nil, writer
  end
  fcntl.fcntl(reader, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
  local pid, reason = unistd.fork()
  if pid == 0 then
    pcall(run, writer)
    unistd._exit(CANNOT_EXECUTE)
  end
  unistd.close(writer)
  if not pid then
    unistd.close(reader)
    return nil, reason
  end
  return pid, reader
end

local function start(command)
  return spawn(function() become(command) end)
end

local function kill(pid, name)
  signals.kill(pid, signals[name])
end

local function status_of(how, code)
  return how == "exited" and code or 128 + code
end

local function reap()
  local pid, how, status = wait.wait(-1, wait.WNOHANG)
  if pid and pid > 0 then
    return pid, status_of(how, status)
  end
end

local function listens(port)
  local fd = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0)
  if not fd then
    return false
  end
  -- Without it, connect(2) blocks while the queue of connections is full.
  socket.setsockopt(fd, socket.SOL_SOCKET, socket.SO_SNDTIMEO, 0, CONNECT_MICROSECONDS)
  local done = socket.connect(fd, { family = socket.AF_INET, addr = "127.0.0.1", port = port })
  unistd.close(fd)
  return done ~= nil
end

-- proc(5): the state is the letter after the name in parentheses, which may contain anything.
local function is_stopped(pid)
  local file = io.open("/proc/" .. pid .. "/stat", "r")
  local text = file and file:read "a" or ""
  if file then
    file:close()
  end
  return text:match ".*%) (%a)" == "T"
end

local function kill_strays(kept)
  if unistd.getpid() ~= 1 then
    return
  end
  for name in dirent.files "/proc" do
    local pid = math.tointeger(tonumber(name))
    if pid and pid ~= 1 and not kept[pid] then
      kill(pid, "SIGKILL")
    end
  end
end

return {
  spawn = spawn, start = start, kill = kill, status_of = status_of, reap = reap, listens = listens,
  is_stopped = is_stopped, kill_strays = kill_strays,
}
