-- The restart policy, and the time limits after which a running region counts as failed.
--
--   failed(state, entry, status, now, act)   a process exited unexpectedly: restart it, or stop the container
--   judge(state, entry, now, act)            notes readiness; kills a region that exceeds a time limit

local stopping = require "supervisor.stopping"

-- Minimum seconds between two starts of the proxy or the log writer. With a stable time of 0, one that exits at once would
-- otherwise restart in a busy loop.
local PART_SECONDS = 0.2

-- The backoff in seconds: 0.2, 0.4, 0.8 and so on, up to 25.6.
local function pause(failures)
  return 0.2 * 2 ^ (math.min(failures, 8) - 1)
end

-- Seconds without a failure. For a region they count from readiness, so that one that hangs at every start exceeds its
-- restart limit.
local function good_seconds(entry, now)
  if entry.kind == "region" and not entry.ready_seconds then
    return 0
  end
  return now - entry.started_at - (entry.ready_seconds or 0)
end

local function failed(state, entry, status, now, act)
  local settings, region = state.settings, entry.kind == "region" and entry.name or "-"
  if good_seconds(entry, now) >= settings.stable_seconds then
    entry.failures = 0
  end
  entry.failures = entry.failures + 1
  local message = string.format("%s exited (code %d): ", entry.name, status)
  if entry.failures > settings.max_restarts then
    entry.state = "failed"
    message = message .. "restart limit reached, stopping all regions"
    act("say", { level = "error", region = region, message = message })
    stopping.begin(state, now, {
      code = 1, region = region,
      words = string.format("%s failed again after %d restarts (exit %d): the container stops",
        entry.name, settings.max_restarts, status),
    })
    return
  end
  if entry.kind == "region" then
    local seconds = pause(entry.failures)
    entry.state, entry.due = "backoff", now + seconds
    message = string.format("%srestart %d of %d in %.1f s", message, entry.failures, settings.max_restarts, seconds)
  else
    entry.due = math.max(now, entry.started_at + PART_SECONDS)
    entry.state = now < entry.due and "backoff" or "waiting"
    message = message .. "restarting"
  end
  act("say", { level = "warn", region = region, message = message })
end

local function kill(entry, act, message)
  entry.killed = true
  act("say", { level = "warn", region = entry.name, message = entry.name .. message .. ": killed" })
end

local function note_change(entry, now, act)
  if entry.state == "starting" and entry.listening and entry.up then
    entry.state, entry.ready_seconds = "ready", now - entry.started_at
  elseif entry.state == "ready" and entry.up and entry.failing_since then
    entry.failing_since = nil
  elseif entry.state == "ready" and not entry.up and not entry.failing_since then
    entry.failing_since = now
    act("say", { level = "warn", region = entry.name, message = "region is not ready", extra = { check = entry.check } })
    return
  else
    return
  end
  local extra = { ready_seconds = entry.ready_seconds }
  act("say", { level = "info", region = entry.name, message = "region is ready", extra = extra })
end

local function judge(state, entry, now, act)
  local settings = state.settings
  if entry.state == "backoff" and now >= entry.due then
    entry.state = "waiting"
  end
  if entry.kind ~= "region" or not entry.pid or entry.killed then
    return
  end
  note_change(entry, now, act)
  if entry.state == "starting" and now - entry.started_at >= settings.startup_seconds then
    kill(entry, act, string.format(" is not ready %d s after its start", settings.startup_seconds))
  elseif entry.failing_since and now - entry.failing_since >= settings.unhealthy_seconds then
    kill(entry, act, string.format(" has failed its health check for %d s", settings.unhealthy_seconds))
  end
end

return { failed = failed, judge = judge }
