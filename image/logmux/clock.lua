-- Clocks, in milliseconds.
--
--   now()        since 1970; jumps when the clock is set
--   uptime()     monotonic, for durations
--   rfc3339(ms)  a time from now() in RFC 3339 format, UTC

local time = require "posix.time"

local format = string.format

local function milliseconds(clock)
  local now = time.clock_gettime(clock)
  return now.tv_sec * 1000 + now.tv_nsec // 1000000
end

local function now()
  return milliseconds(time.CLOCK_REALTIME)
end

local function uptime()
  return milliseconds(time.CLOCK_MONOTONIC)
end

local function rfc3339(ms)
  return os.date("!%Y-%m-%dT%H:%M:%S", ms // 1000) .. format(".%03dZ", ms % 1000)
end

return { now = now, uptime = uptime, rfc3339 = rfc3339 }
