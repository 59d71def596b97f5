-- The container's own HTTP answers on the metrics port, and the watch over the regions' health. Runs in HAProxy.
--
-- Reads: the environment (FF_STATE_DIR, FF_REGIONS "region ...", FF_STARTUP_SECONDS, FF_UNHEALTHY_SECONDS,
-- FF_HEALTH_EVENTS a FIFO, FF_VERSION) and in FF_STATE_DIR the files the supervisor and the log writer keep:
--   region.NAME      "pid starts started_at" (started_at: seconds since the epoch)
--   logmux.pid       process ID of the log writer
--   watcher.pid      process ID of the health watcher
--   logmux.stats     "NAME lines bytes" per line
-- Writes: a line with the index of a region that failed its health check for too long into FF_HEALTH_EVENTS.
-- Format: https://prometheus.io/docs/instrumenting/exposition_formats/

local STATE_DIR = os.getenv("FF_STATE_DIR")
local STARTUP_SECONDS = tonumber(os.getenv("FF_STARTUP_SECONDS"))
local UNHEALTHY_SECONDS = tonumber(os.getenv("FF_UNHEALTHY_SECONDS"))
local BUCKETS = { 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 }

local REGIONS = {}
for region in os.getenv("FF_REGIONS"):gmatch("%S+") do
  REGIONS[#REGIONS + 1] = region
end

-- region -> { counts per bucket, sum in microseconds, count }
local durations = {}
-- region -> { ready, since, seen_at (seconds of HAProxy's clock), starts, started_at, ready_seconds, reported }
local health = {}
for _, region in ipairs(REGIONS) do
  local counts = {}
  for index = 1, #BUCKETS do
    counts[index] = 0
  end
  durations[region] = { counts = counts, sum = 0, count = 0 }
  health[region] = { ready = false, was_ready = false }
end

local function now()
  local time = core.now()
  return time.sec + time.usec / 1e6
end

-- The first LINE of a file in the state directory, or nil.
local function read_state(name)
  local file = io.open(STATE_DIR .. "/" .. name, "r")
  if not file then
    return nil
  end
  local text = file:read("a")
  file:close()
  return text
end

-- What the supervisor knows of a region: process ID, number of starts, time of the last start.
local function process_of(region)
  local pid, starts, started_at = (read_state("region." .. region) or ""):match("^(%d+)%s+(%d+)%s+([%d.]+)")
  return { pid = tonumber(pid), starts = tonumber(starts) or 0, started_at = tonumber(started_at) }
end

local function server_stats(region)
  return core.backends["region-" .. region].servers.plugin:get_stats()
end

-- HAProxy calls a server up until its first check is done: only a check that passed counts.
local function is_ready(region)
  local stats = server_stats(region)
  return stats.status:sub(1, 2) == "UP" and (stats.check_status or ""):find("^%*? ?L[47]OK") ~= nil
end

-- HAProxy's stderr is one of the log writer's own streams.
local function say(level, region, message, extra)
  local time = core.now()
  io.stderr:write(
    string.format(
      '{"level":"%s","time":"%s.%03dZ","region":"%s","message":"%s"%s}\n',
      level, os.date("!%Y-%m-%dT%H:%M:%S", time.sec), time.usec // 1000, region, message, extra or ""
    )
  )
end

-- usage: note_change(index, region, ready)
local function note_change(region, state, ready)
  local process = process_of(region)
  state.ready, state.since = ready, now()
  if ready then
    state.was_ready = true
    if process.started_at and process.started_at ~= state.started_at then
      state.started_at = process.started_at
      state.ready_seconds = math.max(0, now() - process.started_at)
    end
    say("info", region, "region is ready", string.format(',"ready_seconds":%.3f', state.ready_seconds or 0))
  else
    say("warn", region, "region is not ready", string.format(',"check":"%s"', server_stats(region).check_status or ""))
  end
end

-- Tells the supervisor once per process that a region failed its check for too long.
local function report_unhealthy(index, region, state)
  local process = process_of(region)
  if not process.started_at then
    return
  end
  -- The time counts from the last start, so that a restarted process has its own: from when it was seen here, because
  -- the supervisor's clock may be stepped and this one is not.
  if state.starts ~= process.starts then
    state.starts, state.seen_at = process.starts, now()
  end
  local since = math.max(state.since or state.seen_at, state.seen_at)
  local limit = state.was_ready and state.started_at == process.started_at and UNHEALTHY_SECONDS or STARTUP_SECONDS
  if now() - since < limit or state.reported == process.started_at then
    return
  end
  state.reported = process.started_at
  local events = io.open(os.getenv("FF_HEALTH_EVENTS"), "w")
  if events then
    events:write(index, "\n")
    events:close()
  end
end

core.register_task(function()
  while true do
    local all_ready = true
    for index, region in ipairs(REGIONS) do
      local state = health[region]
      local ready = is_ready(region)
      if ready ~= state.ready then
        note_change(region, state, ready)
      end
      if not ready then
        all_ready = false
        report_unhealthy(index, region, state)
      end
    end
    core.msleep(all_ready and 500 or 50)
  end
end)

core.register_action("observe", { "http-res" }, function(txn, region)
  local microseconds = txn.f:date(0, "us") - txn:get_var("txn.began")
  local histogram = durations[region]
  local seconds = microseconds / 1e6
  for index = 1, #BUCKETS do
    if seconds <= BUCKETS[index] then
      histogram.counts[index] = histogram.counts[index] + 1
      break
    end
  end
  histogram.sum = histogram.sum + microseconds
  histogram.count = histogram.count + 1
end, 1)

-- A family is written once with its HELP and TYPE; sample(region) gives lines of {suffix, labels, value}.
local function family(out, name, kind, help, sample)
  out[#out + 1] = string.format("# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
  for _, region in ipairs(REGIONS) do
    for _, line in ipairs(sample(region)) do
      local suffix, labels, value = line[1], line[2], line[3]
      out[#out + 1] = string.format('%s%s{region="%s"%s} %s\n', name, suffix, region, labels, value)
    end
  end
end

-- A sample function for a family with one value per region.
local function single(value_of)
  return function(region)
    local value = value_of(region)
    return value and { { "", "", value } } or {}
  end
end

local function number(value)
  return string.format("%.15g", tonumber(value) or 0)
end

local LABEL_ESCAPES = { ["\\"] = "\\\\", ['"'] = '\\"', ["\n"] = "\\n" }

-- Prometheus refuses a whole scrape for a byte that is not UTF-8; Lua 5.3 lets encoded surrogates pass.
local function is_utf8(text)
  return utf8.len(text) and not text:find("\xED[\xA0-\xBF]")
end

local function label_value(text)
  if not is_utf8(text) then
    text = text:gsub("[\128-\255]", "?")
  end
  return (text:gsub('[\\"\n]', LABEL_ESCAPES))
end

local function histogram_lines(region)
  local histogram, total, lines = durations[region], 0, {}
  for index, bound in ipairs(BUCKETS) do
    total = total + histogram.counts[index]
    lines[#lines + 1] = { "_bucket", string.format(',le="%s"', bound), total }
  end
  lines[#lines + 1] = { "_bucket", ',le="+Inf"', histogram.count }
  lines[#lines + 1] = { "_sum", "", number(histogram.sum / 1e6) }
  lines[#lines + 1] = { "_count", "", histogram.count }
  return lines
end

local function code_class_lines(stats)
  local lines = {}
  for class = 1, 5 do
    lines[class] = { "", string.format(',code="%dxx"', class), stats["hrsp_" .. class .. "xx"] or 0 }
  end
  return lines
end

-- region -> { lines, bytes }, as the log writer last counted them.
local function log_counts()
  local counts = {}
  for name, lines, bytes in (read_state("logmux.stats") or ""):gmatch("(%S+) (%d+) (%d+)") do
    counts[name] = { lines = lines, bytes = bytes }
  end
  return counts
end

local function render_metrics()
  local out, front, back, process, logs = {}, {}, {}, {}, log_counts()
  for _, region in ipairs(REGIONS) do
    front[region] = core.frontends[region]:get_stats()
    back[region] = core.backends["region-" .. region]:get_stats()
    process[region] = process_of(region)
  end
  family(out, "finfocus_region_up", "gauge", "1 when the region's health check passes.",
    single(function(r) return is_ready(r) and 1 or 0 end))
  family(out, "finfocus_region_requests_total", "counter", "Answers on the region's public port by class of status code.",
    function(r) return code_class_lines(front[r]) end)
  family(out, "finfocus_region_request_duration_seconds", "histogram",
    "Time from the request to the head of the plugin's answer.", histogram_lines)
  family(out, "finfocus_region_requests_in_flight", "gauge", "Requests the plugin is working on.",
    single(function(r) return back[r].scur or 0 end))
  family(out, "finfocus_region_received_bytes_total", "counter", "Bytes received on the region's public port.",
    single(function(r) return front[r].bin or 0 end))
  family(out, "finfocus_region_sent_bytes_total", "counter", "Bytes sent on the region's public port.",
    single(function(r) return front[r].bout or 0 end))
  family(out, "finfocus_region_restarts_total", "counter", "Times the region was started again after a failure.",
    single(function(r) return math.max(0, process[r].starts - 1) end))
  family(out, "finfocus_region_start_time_seconds", "gauge", "Last start of the region's process, seconds since the epoch.",
    single(function(r) return process[r].started_at and number(process[r].started_at) end))
  family(out, "finfocus_region_ready_seconds", "gauge", "Time from the last start to the first passed health check.",
    single(function(r) return health[r].ready_seconds and string.format("%.3f", health[r].ready_seconds) end))
  family(out, "finfocus_region_log_lines_total", "counter", "Lines the region has logged.",
    single(function(r) return logs[r] and logs[r].lines or 0 end))
  family(out, "finfocus_region_log_bytes_total", "counter", "Bytes the region has logged.",
    single(function(r) return logs[r] and logs[r].bytes or 0 end))
  family(out, "finfocus_build_info", "gauge", "Always 1; the labels tell the image's version.",
    function() return { { "", string.format(',version="%s"', label_value(os.getenv("FF_VERSION") or "")), 1 } } end)
  return table.concat(out)
end

-- usage: respond(applet, status, content_type, body)
local function respond(applet, status, content_type, body)
  applet:set_status(status)
  applet:add_header("content-length", #body)
  applet:add_header("content-type", content_type)
  applet:add_header("cache-control", "no-store")
  applet:start_response()
  applet:send(body)
end

core.register_service("metrics", "http", function(applet)
  respond(applet, 200, "text/plain; version=0.0.4; charset=utf-8", render_metrics())
end)

local function known(region)
  for _, name in ipairs(REGIONS) do
    if name == region then
      return true
    end
  end
  return false
end

core.register_service("readyz", "http", function(applet)
  local wanted = applet.path:match("^/readyz/(.+)$")
  if wanted and not known(wanted) then
    return respond(applet, 404, "application/json", '{"error":"region is not selected in this container"}\n')
  end
  local missing = {}
  for _, region in ipairs(wanted and { wanted } or REGIONS) do
    if not is_ready(region) then
      missing[#missing + 1] = '"' .. region .. '"'
    end
  end
  local body = string.format('{"ready":%s,"not_ready":[%s]}\n', #missing == 0, table.concat(missing, ","))
  respond(applet, #missing == 0 and 200 or 503, "application/json", body)
end)

-- usage: runs(pid_file)    Whether the process lives and is not stopped; proc(5): Z zombie, X dead, T stopped.
local function runs(pid_file)
  local pid = (read_state(pid_file) or ""):match("%d+")
  local stat = pid and io.open("/proc/" .. pid .. "/stat", "r")
  if not stat then
    return false
  end
  local text = stat:read("a") or ""
  stat:close()
  return text:find("%) [^ZXT] ") ~= nil
end

-- HAProxy answers, so it is alive; the supervisor's death ends the container; these two are left.
core.register_service("livez", "http", function(applet)
  local log_writer, watcher = runs("logmux.pid"), runs("watcher.pid")
  local body = string.format('{"live":%s,"log_writer":%s,"watcher":%s}\n', log_writer and watcher, log_writer, watcher)
  respond(applet, log_writer and watcher and 200 or 503, "application/json", body)
end)
