-- The shutdown, in phases: `front` the proxy accepts no new requests and completes those it has; `regions` the plugins
-- exit; `parts` the proxy exits; `flush` the log writer writes what is left; `done`.
--
-- The proxy stops first because a plugin that is shutting down leaves a new request unanswered for a second (Go's
-- HTTP/2 server). Clients of HTTP/2 get a GOAWAY, and on a busy machine may need longer than 1 s to act on it. So they
-- have twice the time after an announcement, which shows that there is somewhere else to go.
--
--   begin(state, now, verdict)        from `running` to `front`; `verdict` is { code, words, region }
--   exited(state, entry, status)      a process exited during the shutdown; status is nil if it could not be started
--   converge(state, now, act)         requests the actions that are due; repeats SIGTERM and SIGKILL until they work
--   LOOK_SECONDS                      interval between two calls

local LOOK_SECONDS, FRONT_SECONDS, DRAIN_SECONDS, HARD_SECONDS, LAST_WRITERS = 0.05, 1, 0.2, 0.3, 3

local function begin(state, now, verdict)
  state.phase, state.verdict = "front", verdict
  local front = math.min(FRONT_SECONDS, state.settings.stop_seconds / 4)
  state.front_until = now + (state.ends_connections and 2 * front or front)
  state.deadline = now + state.settings.stop_seconds
  for _, entry in pairs(state.process) do
    if entry.pid and entry.kind ~= "log-writer" then
      entry.state = "stopping"
    elseif entry.kind ~= "log-writer" and entry.state ~= "failed" then
      entry.state = "stopped"
    elseif entry.state == "backoff" then
      entry.state = "waiting" -- the log writer, for the last lines
    end
  end
end

local function exited(state, entry, status)
  if entry.kind ~= "log-writer" then
    entry.state = "stopped"
  elseif state.phase == "flush" and status == 0 or state.last_writers >= LAST_WRITERS then
    entry.state = "stopped"
  else
    entry.state = "waiting"
  end
end

-- Sends the signal to each running process of the kind; returns whether there was one.
local function tell(state, kind, signal, act)
  local found = false
  for _, name in ipairs(state.order) do
    local entry = state.process[name]
    if entry.kind == kind and entry.pid then
      found = true
      -- A process stopped by SIGSTOP does not exit before SIGCONT.
      act("signal", { name = name, pid = entry.pid, signal = "SIGCONT" })
      act("signal", { name = name, pid = entry.pid, signal = signal })
    end
  end
  return found
end

local function kill_late(state, act)
  for _, name in ipairs(state.order) do
    local entry = state.process[name]
    if entry.kind == "region" and entry.pid and not entry.killed then
      entry.killed = true
      local message = string.format("%s ignored SIGTERM for %d s: killed", name, state.settings.stop_seconds)
      act("say", { level = "warn", region = name, message = message })
    end
  end
  tell(state, "region", "SIGKILL", act)
  tell(state, "proxy", "SIGKILL", act)
end

local phases = {}

-- Each returns the next phase when it is complete.
function phases.front(state, now, act)
  local proxy = state.process.proxy
  -- Only once: a second SIGUSR1 makes HAProxy exit at once and drop its requests. A lost one costs only this phase.
  if proxy.pid and not proxy.told then
    proxy.told = true
    tell(state, "proxy", "SIGUSR1", act)
  end
  return (now >= state.front_until or not tell(state, "proxy", "SIGCONT", act)) and "regions"
end

function phases.regions(state, _, act)
  return not tell(state, "region", "SIGTERM", act) and "parts"
end

function phases.parts(state, now, act)
  if tell(state, "proxy", "SIGTERM", act) then
    return nil
  end
  act("kill_strays", {})
  if not state.verdict.words then
    act("say", { level = "info", region = "-", message = "all regions have stopped" })
  end
  act("close_streams", {})
  state.flush_until = math.max(now, state.deadline) + DRAIN_SECONDS
  return "flush"
end

function phases.flush(state, now, act)
  local writer, over = state.process["log-writer"], now >= state.flush_until
  if writer.state == "waiting" and not over then
    if now >= (state.retry_at or now) then
      writer.state, state.last_writers = "starting", state.last_writers + 1
      act("start", { name = writer.name })
    end
  elseif not writer.pid and writer.state ~= "starting" then
    return "done"
  elseif writer.pid then
    tell(state, "log-writer", over and "SIGKILL" or "SIGCONT", act)
  end
end

local function converge(state, now, act)
  local hard_end = state.deadline + DRAIN_SECONDS + HARD_SECONDS
  if now >= state.deadline and state.phase ~= "flush" and state.phase ~= "done" then
    kill_late(state, act)
  end
  while state.phase ~= "done" do
    local next_phase = now >= hard_end and "done" or phases[state.phase](state, now, act)
    if not next_phase then
      return
    end
    state.phase = next_phase
    if next_phase == "done" then
      local verdict = state.verdict
      act("exit", { code = verdict.code, words = verdict.words, region = verdict.region })
    end
  end
end

return { begin = begin, exited = exited, converge = converge, LOOK_SECONDS = LOOK_SECONDS }
