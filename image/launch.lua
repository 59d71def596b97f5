-- Replaces itself with PROGRAM, in the environment that process PID was started with, byte for byte.
-- usage: lua5.3 launch.lua PID MARK PROGRAM [ARGUMENT]...
--
-- A shell changes the environment it hands on (SHLVL, PWD, _) and its own variables can shadow the user's;
-- /proc/PID/environ is what the container was really given. Before that, the mark that tells the log writer
-- "a new process begins here" goes into both streams: in order, and without blocking the supervisor.

local unistd = require("posix.unistd")
local stdlib = require("posix.stdlib")

-- Returns the entries of /proc/PID/environ as a list of {name, value}.
local function environment_of(pid)
  local file = assert(io.open("/proc/" .. pid .. "/environ", "rb"))
  local entries = {}
  for entry in (file:read("a") or ""):gmatch("[^\0]+") do
    local name, value = entry:match("^([^=]+)=(.*)$")
    if name then
      entries[#entries + 1] = { name, value }
    end
  end
  file:close()
  return entries
end

-- When memory runs out, the kernel takes a plugin rather than the proxy or the log writer, which serve all:
-- proc(5), oom_score_adj; any process may raise its own. Kubernetes may have set it to the highest value already.
local function offer_to_oom_killer()
  local file = io.open("/proc/self/oom_score_adj", "r+")
  if file then
    local score = file:read("n") or 0
    file:seek("set")
    file:write(math.min(1000, score + 100))
    file:close()
  end
end

local pid, mark = arg[1], arg[2]
offer_to_oom_killer()
unistd.write(1, "\x1e" .. mark .. "\n")
unistd.write(2, "\x1e" .. mark .. "\n")
local wanted = environment_of(pid)
for name in pairs(stdlib.getenv()) do
  stdlib.setenv(name, nil)
end
for _, entry in ipairs(wanted) do
  stdlib.setenv(entry[1], entry[2])
end
local _, reason = unistd.exec(arg[3], { table.unpack(arg, 4) })
io.stderr:write('{"level":"error","message":"cannot start ', arg[3], ": ", tostring(reason), '"}\n')
os.exit(126)
