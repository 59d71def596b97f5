-- The supervisor, process 1 after entrypoint.sh: starts the log writer, the regions and the proxy in front of them,
-- restarts those that fail, and stops them all.
--
--   lua5.3 -E supervisor.lua home=DIR metrics_port=PORT shell=PATH      started by entrypoint.sh
--
-- Level-triggered: after every wake-up, whatever its cause, it handles pending signals, reaps exited children, checks
-- the regions and the proxy, and lets step.lua decide. `poll` sleeps at most 0.25 s, so a lost wake-up costs only time.

local directory = string.match(arg[0], "^.*/") or "./"
package.path = directory .. "?.lua;" .. package.path

-- First, because process 1 loses signals that have no handler.
local signal = require "posix.signal"

local came -- the first signal that requests a stop
for _, name in ipairs { "SIGTERM", "SIGINT" } do
  signal.signal(signal[name], function() came = came or name end)
end
-- Without a handler they kill this process where it is not process 1. Not ignored, because exec passes that on.
for _, name in ipairs { "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGALRM", "SIGPIPE" } do
  signal.signal(signal[name], function() end)
end
local announced -- whether a signal has announced a stop
signal.signal(signal.SIGUSR2, function() announced = true end)

local poll = require("posix.poll").poll
local unistd = require "posix.unistd"
local clock = require "logmux.clock"
local Files = require "supervisor.files"
local commands = require "supervisor.commands"
local processes = require "supervisor.processes"
local read_settings = require "supervisor.settings"
local step = require "supervisor.step"

local FROZEN_LOOK_SECONDS, ENDING_SECONDS, LAST_WORDS_MS, LAST_WORDS_TRIES = 4, 0.05, 200, 3
local EVENT_READS = 16

local function now()
  return clock.uptime() / 1000
end

local Supervisor = {}
Supervisor.__index = Supervisor

local function new(settings)
  local files = Files.open(settings)
  return setmetatable({
    settings = settings, files = files, state = step.new(settings), commands = commands.of(settings),
    poll_set = { [files.events] = { events = { IN = true } } },
    name_of = {}, lifeline = {}, -- by process ID
    frozen = {}, next_look = now() + FROZEN_LOOK_SECONDS, ending_until = 0,
  }, Supervisor)
end

local act = {}

function Supervisor:take(event)
  local state, actions = step.step(self.state, event, now())
  self.state = state
  self.changed = self.changed or event.kind ~= "tick" or actions[1] ~= nil
  for _, action in ipairs(actions) do
    act[action.kind](self, action)
  end
end

function act.start(self, action)
  local pid, lifeline = processes.start(self.commands[action.name])
  if not pid then
    return self:take { kind = "refused", name = action.name, reason = lifeline }
  end
  self.name_of[pid], self.lifeline[pid] = action.name, lifeline
  self.poll_set[lifeline] = { events = { IN = true } }
  self:take { kind = "started", name = action.name, pid = pid, wall = clock.now() / 1000 }
end

function act.signal(_, action)
  processes.kill(action.pid, action.signal)
end

function act.say(self, action)
  self.files:say(action)
end

function act.end_connections(self)
  self.files:end_connections()
end

function act.close_streams(self)
  self.files:close_streams()
end

function act.kill_strays(self)
  processes.kill_strays(self.name_of)
end

-- Normally nothing is left to kill.
function Supervisor:kill_all()
  for pid in pairs(self.name_of) do
    processes.kill(pid, "SIGKILL")
  end
end

-- The last line follows everything that the log writer wrote. In case nothing reads stdout, the wait is short; it is
-- repeated if a signal interrupts it.
function act.exit(self, action)
  self:kill_all()
  pcall(self.files.remove, self.files) -- it may be gone
  local writable
  for _ = 1, action.words and LAST_WORDS_TRIES or 0 do
    writable = writable or poll({ [unistd.STDOUT_FILENO] = { events = { OUT = true } } }, LAST_WORDS_MS)
  end
  if writable and writable > 0 then
    unistd.write(unistd.STDOUT_FILENO, Files.line_of { level = "error", region = action.region, message = action.words })
  end
  unistd._exit(action.code)
end

function Supervisor:forget_lifeline(pid)
  local lifeline = self.lifeline[pid]
  if lifeline then
    self.poll_set[lifeline], self.lifeline[pid] = nil, nil
    unistd.close(lifeline)
  end
end

function Supervisor:reap()
  for pid, status in processes.reap do
    local name = self.name_of[pid]
    self:forget_lifeline(pid)
    self.name_of[pid] = nil
    if name then
      self:take { kind = "exited", name = name, status = status }
    end
  end
end

-- Frozen means stopped at two checks in a row: at one check it may just be exiting.
function Supervisor:look_at_parts()
  if now() < self.next_look then
    return
  end
  self.next_look = now() + FROZEN_LOOK_SECONDS
  for _, name in ipairs { "proxy", "log-writer" } do
    local pid = self.state.process[name].pid
    local stopped = pid and processes.is_stopped(pid) and pid
    if stopped and self.frozen[name] == pid then
      self:take { kind = "frozen", name = name }
    end
    self.frozen[name] = stopped
  end
end

function Supervisor:look_at_regions()
  for _, region in ipairs(self.settings.regions) do
    local entry = self.state.process[region.name]
    if entry.state == "starting" and not entry.listening and processes.listens(region.port) then
      self:take { kind = "listening", name = region.name }
    end
  end
  local up, check = self.files:health()
  if up then
    self:take { kind = "health", up = up, check = check }
  end
end

-- A process closes its lifeline a moment before it can be reaped, or it closes it and keeps running: poll briefly.
function Supervisor:sleep()
  local seconds = step.wait(self.state, now())
  if now() < self.ending_until then
    seconds = math.min(seconds, 0.001)
  end
  poll(self.poll_set, math.ceil(seconds * 1000))
  for pid, lifeline in pairs(self.lifeline) do
    if (self.poll_set[lifeline].revents or {}).HUP then
      self:forget_lifeline(pid)
      self.ending_until = now() + ENDING_SECONDS
    end
  end
  local reads = 0
  -- Bounded, because something may write faster than this reads.
  while reads < EVENT_READS and unistd.read(self.files.events, 4096) do
    reads = reads + 1
  end
end

function Supervisor:run()
  while true do
    if announced then
      announced = false
      self:take { kind = "announced" }
    end
    if came then
      self:take { kind = "signal", signal = came }
    end
    self:reap()
    self:look_at_parts()
    self:look_at_regions()
    self:take { kind = "tick" }
    self.files:flush()
    if self.changed then
      self.files:publish(self.state)
      self.changed = false
    end
    self:sleep()
  end
end

local function give_up(problem)
  io.stderr:write(Files.line_of { level = "error", region = "-", message = debug.traceback(problem) })
  return "internal error in the supervisor: see the line before"
end

-- Returns the settings, or exits if prepare.sh fails. Nothing is running yet.
local function prepared()
  local settings = read_settings.parse(arg, { regions = {} })
  read_settings.adopt_environment()
  local made, code = xpcall(read_settings.prepare, give_up, settings)
  if not made or code ~= 0 then
    unistd._exit(made and code or 1)
  end
  return settings
end

-- An internal error stops the container cleanly; a second one kills every process and exits.
local function main()
  local made, supervisor = xpcall(new, give_up, prepared())
  if not made then
    unistd._exit(1)
  end
  local _, words = xpcall(supervisor.run, give_up, supervisor)
  supervisor.state = step.fail(supervisor.state, words, now())
  xpcall(supervisor.run, give_up, supervisor)
  supervisor:kill_all()
  unistd._exit(1)
end

main()
