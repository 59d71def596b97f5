-- Decides which waiting process starts next. A plugin parses its price lists before it listens, which takes seconds of
-- CPU time: if twelve start at once on two cores, the first is ready no sooner than the last. So at most `start_parallel`
-- regions parse at a time, in the order of the table, for first starts and restarts alike.
--
--   open(state, now, act)      requests the starts that are due
--   look_seconds(entry, now)   seconds until the next check whether a starting region listens

-- A start that takes longer than this, because of a cold page cache or a hung plugin, no longer delays the next one.
local FAIR_SECONDS = 10

local function is_busy(entry, now)
  return entry.state == "starting" and not entry.listening and (not entry.pid or now - entry.started_at < FAIR_SECONDS)
end

local function open(state, now, act)
  local limit, busy = state.settings.start_parallel, 0
  for _, name in ipairs(state.order) do
    busy = busy + (is_busy(state.process[name], now) and 1 or 0)
  end
  for _, name in ipairs(state.order) do
    local entry = state.process[name]
    local is_region = entry.kind == "region"
    if entry.state == "waiting" and (not is_region or limit == 0 or busy < limit) then
      busy = busy + (is_region and 1 or 0)
      -- `listening` was true of the previous process.
      entry.state, entry.listening = "starting", nil
      act("start", { name = name })
    end
  end
end

-- Soon after the start, for a plugin that has little to parse, then in steps of 5 % of the time since the start.
local function look_seconds(entry, now)
  return math.min(0.1, math.max(0.004, (now - entry.started_at) / 20))
end

return { open = open, look_seconds = look_seconds }
