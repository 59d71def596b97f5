-- The settings that prepare.sh has validated, and the container's environment.
--
--   parse(words)           adds NAME=VALUE and REGION:PORT to the settings; `regions` is the list of { name, port } in
--                          start order, `port` is the plugin's own
--   adopt_environment()    replaces this process's environment by the one on standard input, byte for byte
--   prepare(settings)      runs prepare.sh and adds its output; returns its exit code

local errno = require "posix.errno"
local stdlib = require "posix.stdlib"
local unistd = require "posix.unistd"
local wait = require "posix.sys.wait"
local processes = require "supervisor.processes"

local OUTPUT = 3

local function parse(words, settings)
  for _, word in ipairs(words) do
    local name, value = word:match "^([%w_]+)=(.*)$"
    if name then
      settings[name] = tonumber(value) or value
    else
      local region, port = word:match "^(.+):(%d+)$"
      settings.regions[#settings.regions + 1] = { name = region, port = math.tointeger(port) }
    end
  end
  return settings
end

local function adopt_environment()
  local given = io.stdin:read "a"
  for name in pairs(stdlib.getenv()) do
    stdlib.setenv(name, nil)
  end
  for name, value in given:gmatch "([^=\0]+)=([^\0]*)\0" do
    stdlib.setenv(name, value)
  end
end

local function become(settings, writer)
  unistd.setpid("p", 0, 0) -- Ctrl+C on a terminal reaches only the supervisor
  if writer ~= OUTPUT then
    unistd.dup2(writer, OUTPUT)
    unistd.close(writer)
  end
  unistd.exec(settings.shell, { "-p", settings.home .. "/prepare.sh", tostring(settings.metrics_port) })
end

-- A signal can interrupt the read.
local function read_all(fd)
  local text = {}
  while true do
    local piece, _, problem = unistd.read(fd, 65536)
    if piece == "" or not piece and problem ~= errno.EINTR then
      return table.concat(text)
    end
    text[#text + 1] = piece
  end
end

local function prepare(settings)
  local pid, reader = assert(processes.spawn(function(writer) become(settings, writer) end))
  local words = {}
  for word in read_all(reader):gmatch "[^\n]+" do
    words[#words + 1] = word
  end
  unistd.close(reader)
  parse(words, settings)
  local ended, how, status
  repeat
    ended, how, status = wait.wait(pid)
  until ended
  return processes.status_of(how, status)
end

return { parse = parse, adopt_environment = adopt_environment, prepare = prepare }
