-- The supervisor's decisions as one pure function: no process, no clock, no file.
--
--   new(settings)                 the state before anything runs
--   step(state, event, now)       the next state and the list of actions; `now` is in seconds of a monotonic clock
--   fail(state, words, now)       the state that stops the container after an internal error
--   wait(state, now)              seconds until something is due, at most 0.25
--
-- A process is { name, kind, state, pid, starts, failures, started_at, ... }; its kind is `region`, `proxy` or
-- `log-writer`, its state one of
--   waiting    not started: it is not its turn, or fork failed
--   starting   running, not ready yet
--   ready      running and serving; a region that fails its health check stays in it, with `failing_since`
--   backoff    exited, paused before its next start
--   stopping   running, requested to exit
--   stopped    exited as requested
--   failed     exceeded its restart limit
-- Events: { kind = ... }
--   tick                          time has passed
--   started {name, pid, wall}     the action `start` succeeded; `wall` is the wall-clock time
--   refused {name, reason}        fork failed
--   exited {name, status}         its process exited; the status is 128 plus the signal's number after a signal
--   listening {name}              the plugin accepts connections: its price lists are parsed
--   health {up, check}            region -> whether the proxy's last check passed, and the proxy's word for it
--   frozen {name}                 a part is stopped by SIGSTOP
--   announced                     the container will be asked to stop soon
--   signal {signal}               the container was asked to stop
-- Actions: start {name}, signal {name, pid, signal}, say {level, region, message, extra}, end_connections,
-- close_streams, kill_strays, exit {code, words, region}.
-- An action whose effect can be lost, such as a signal between fork and exec, is repeated until it takes effect.

local gate = require "supervisor.gate"
local restarts = require "supervisor.restarts"
local stopping = require "supervisor.stopping"

local MAX_WAIT, REFUSED_SECONDS = 0.25, 10
local NO_PROCESS = "no process can be started: raise the process limit"

local function new(settings)
  local state = { phase = "running", settings = settings, order = {}, process = {}, last_writers = 0 }
  local function add(name, kind)
    state.order[#state.order + 1] = name
    state.process[name] = { name = name, kind = kind, state = "waiting", starts = 0, failures = 0 }
  end
  add("log-writer", "log-writer")
  for _, region in ipairs(settings.regions) do
    add(region.name, "region")
  end
  add("proxy", "proxy")
  return state
end

local function copy(state)
  local new_state, process = {}, {}
  for key, value in pairs(state) do
    new_state[key] = value
  end
  for name, entry in pairs(state.process) do
    local new_entry = {}
    for key, value in pairs(entry) do
      new_entry[key] = value
    end
    process[name] = new_entry
  end
  new_state.process = process
  return new_state
end

local on = {}

function on.tick() end

function on.started(state, event, now)
  local entry = state.process[event.name]
  entry.pid, entry.wall, entry.started_at = event.pid, event.wall, now
  entry.starts = entry.starts + 1
  entry.state = entry.kind == "region" and "starting" or "ready"
  entry.listening, entry.killed, entry.ready_seconds, entry.failing_since = nil, nil, nil, nil
  state.refused_since = nil
end

function on.refused(state, event, now, act)
  local entry = state.process[event.name]
  state.retry_at = now + 0.1
  if state.phase ~= "running" then
    return stopping.exited(state, entry)
  end
  entry.state = "waiting"
  state.refused_since = state.refused_since or now
  if now - state.refused_since >= REFUSED_SECONDS then
    act("say", { level = "error", region = "-", message = NO_PROCESS .. ": stopping all regions" })
    stopping.begin(state, now, { code = 1, words = NO_PROCESS, region = "-" })
  end
end

function on.exited(state, event, now, act)
  local entry = state.process[event.name]
  entry.pid = nil
  if state.phase == "running" then
    restarts.failed(state, entry, event.status, now, act)
  else
    stopping.exited(state, entry, event.status)
  end
end

function on.listening(state, event)
  state.process[event.name].listening = true
end

function on.health(state, event)
  for name, up in pairs(event.up) do
    local entry = state.process[name]
    -- Any process in the container can write the health file.
    if entry then
      entry.up, entry.check = up, event.check[name]
    end
  end
end

function on.frozen(state, event, _, act)
  local entry = state.process[event.name]
  if state.phase == "running" and entry.pid and not entry.killed then
    entry.killed = true
    act("say", { level = "warn", region = "-", message = event.name .. " was stopped by a signal: killed" })
  end
end

-- Only once, because nothing takes an announcement back.
function on.announced(state, _, _, act)
  if state.phase == "running" and not state.ends_connections then
    state.ends_connections = true
    act("say", { level = "info", region = "-", message = "SIGUSR2: connections end with their next response" })
    act("end_connections", {})
  end
end

function on.signal(state, event, now, act)
  if state.phase == "running" then
    local count = #state.settings.regions
    act("say", { level = "info", region = "-", message = event.signal .. ": stopping " .. count .. " regions" })
    stopping.begin(state, now, { code = 0 })
  end
end

local function announce(state, act)
  local names, limit = {}, state.settings.start_parallel
  for index, region in ipairs(state.settings.regions) do
    names[index] = region.name
  end
  local pace = limit == 0 and "all at once" or limit .. " at a time"
  local message = string.format("starting %d regions, %s: %s", #names, pace, table.concat(names, " "))
  act("say", { level = "info", region = "-", message = message })
  state.announced = true
end

-- Compares what should run with what runs.
local function converge(state, now, act)
  if state.phase ~= "running" then
    return stopping.converge(state, now, act)
  end
  if not state.announced then
    announce(state, act)
  end
  for _, name in ipairs(state.order) do
    local entry = state.process[name]
    restarts.judge(state, entry, now, act)
    if entry.killed and entry.pid then
      act("signal", { name = name, pid = entry.pid, signal = "SIGKILL" })
    end
  end
  if not state.retry_at or now >= state.retry_at then
    gate.open(state, now, act)
  end
end

-- Whether all is ready: then a tick changes nothing, and the state need not be copied four times a second.
local function is_settled(state)
  for _, entry in pairs(state.process) do
    if entry.state ~= "ready" or entry.killed or entry.kind == "region" and not entry.up then
      return false
    end
  end
  return state.phase == "running"
end

local function step(state, event, now)
  if event.kind == "tick" and is_settled(state) then
    return state, {}
  end
  local next_state, actions = copy(state), {}
  local function act(kind, action)
    action.kind = kind
    actions[#actions + 1] = action
  end
  on[event.kind](next_state, event, now, act)
  converge(next_state, now, act)
  return next_state, actions
end

-- The state after an internal error.
local function fail(state, words, now)
  local next_state = copy(state)
  if next_state.phase == "running" then
    stopping.begin(next_state, now, { code = 1, words = words, region = "-" })
  elseif next_state.phase == "done" then
    next_state.phase = "flush" -- the exit failed: request it again
  end
  return next_state
end

local function wait(state, now)
  if state.phase ~= "running" then
    return stopping.LOOK_SECONDS
  end
  local seconds = MAX_WAIT
  for _, entry in pairs(state.process) do
    if entry.state == "backoff" then
      seconds = math.min(seconds, entry.due - now)
    elseif entry.state == "starting" and entry.pid and not entry.listening then
      seconds = math.min(seconds, gate.look_seconds(entry, now))
    end
  end
  return math.max(0, seconds)
end

return { new = new, step = step, fail = fail, wait = wait }
