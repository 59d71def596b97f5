-- The container's own HTTP answers on the metrics port, and what the proxy knows of the regions' health. Runs in HAProxy.
--
-- Reads: the environment (FF_STATE_DIR, FF_REGIONS "region ...", FF_MEMORY_LIMIT, FF_MEMORY_NEED in bytes,
-- FINFOCUS_IMAGE_VERSION) and in FF_STATE_DIR
--   state            a line per process, written by the supervisor: see supervisor/files.lua
--   logmux.stats     "NAME lines bytes" per line, written by the log writer
-- Writes into FF_STATE_DIR
--   health           a line per region: "NAME 0|1 CHECK", whether the last check passed and HAProxy's word for it
--   events           a FIFO: a byte wakes the supervisor when `health` has changed
-- Format: https://prometheus.io/docs/instrumenting/exposition_formats/

local STATE_DIR = os.getenv("FF_STATE_DIR")
local BUCKETS = { 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 }

local REGIONS = {}
for region in os.getenv("FF_REGIONS"):gmatch("%S+") do
  REGIONS[#REGIONS + 1] = region
end

-- region -> { counts per bucket, sum in microseconds, count }
local durations = {}
for _, region in ipairs(REGIONS) do
  local counts = {}
  for index = 1, #BUCKETS do
    counts[index] = 0
  end
  durations[region] = { counts = counts, sum = 0, count = 0 }
end

-- The text of a file in the state directory, or nil.
local function read_state(name)
  local file = io.open(STATE_DIR .. "/" .. name, "r")
  if not file then
    return nil
  end
  local text = file:read("a")
  file:close()
  return text
end

-- What the supervisor says of each process, by name: { state, pid, starts, started_at, ready_seconds }.
local function read_processes()
  local processes = {}
  for line in (read_state("state") or ""):gmatch("[^\n]+") do
    local name, _, state, pid, starts, _, started_at, ready_seconds = line:match(("(%S+) "):rep(7) .. "(%S+)")
    if name then
      processes[name] = {
        state = state, pid = tonumber(pid), starts = tonumber(starts), started_at = tonumber(started_at),
        ready_seconds = tonumber(ready_seconds),
      }
    end
  end
  return processes
end

local NONE = { starts = 0 }

local function server_stats(region)
  return core.backends["region-" .. region].servers.plugin:get_stats()
end

-- usage: passes(stats)    Whether the server's last check passed. HAProxy calls a server up until its first check is done.
local function passes(stats)
  return stats.status:sub(1, 2) == "UP" and (stats.check_status or ""):find("^%*? ?L[47]OK") ~= nil
end

local function is_ready(region)
  return passes(server_stats(region))
end

-- A region that waits for its turn would fail its check 20 times a second. Where no region is ready this many seconds
-- after the start, each takes longer than that from its own start: those that wait are not checked until they start. The
-- check of a server whose check was enabled again comes within `inter`, 1 s, so that it is not seen ready later.
local LONG_START_SECONDS = 1
local began, is_long_start, any_ready = nil, false, false
local unchecked, row_of = {}, {} -- by region

local function check_only_started()
  local moment = core.now()
  local now = moment.sec + moment.usec / 1e6
  began = began or now
  if not is_long_start then
    is_long_start = not any_ready and now - began >= LONG_START_SECONDS
    return
  end
  local processes = read_processes()
  for _, region in ipairs(REGIONS) do
    -- A region that ended a moment ago may still be ready by its last check.
    local waits = (processes[region] or NONE).state == "waiting" and not row_of[region].ready
    if waits ~= (unchecked[region] or false) then
      local server = core.backends["region-" .. region].servers.plugin
      unchecked[region] = waits
      if waits then
        server:check_disable()
      else
        server:check_enable()
      end
    end
  end
end

-- A fixed length, written in place in one piece: that works when the file system is full. The statistics of a server
-- have a hundred values: those of one that is not checked do not change.
local function health_rows()
  local rows, all_ready = {}, true
  for index, region in ipairs(REGIONS) do
    if not unchecked[region] then
      local stats = server_stats(region)
      local ready, check = passes(stats), (stats.check_status or ""):gsub("[^%w]", "")
      row_of[region] = { ready = ready, text = string.format("%-40s %d %-16s\n", region, ready and 1 or 0, check) }
    end
    local row = row_of[region]
    any_ready, all_ready = any_ready or row.ready, all_ready and row.ready
    rows[index] = row.text
  end
  return table.concat(rows), all_ready
end

local function put(name, text, mode)
  local file = io.open(STATE_DIR .. "/" .. name, mode)
  if file then
    file:write(text)
    file:close()
  end
end

core.register_task(function()
  local written, all_ready
  while true do
    if not all_ready then
      check_only_started()
    end
    local rows
    rows, all_ready = health_rows()
    if rows ~= written then
      put("health", rows, "r+")
      put("events", "\n", "r+")
      written = rows
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

local STATES = { "waiting", "starting", "ready", "backoff", "stopping", "stopped", "failed" }

local function state_lines(current)
  local lines = {}
  for index, state in ipairs(STATES) do
    lines[index] = { "", string.format(',state="%s"', state), state == current and 1 or 0 }
  end
  return lines
end

-- A gauge of the container, without a region.
local function plain(out, name, help, value)
  out[#out + 1] = string.format("# HELP %s %s\n# TYPE %s gauge\n%s %s\n", name, help, name, name, value)
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
  local out, front, back, process, logs = {}, {}, {}, read_processes(), log_counts()
  for _, region in ipairs(REGIONS) do
    front[region] = core.frontends[region]:get_stats()
    back[region] = core.backends["region-" .. region]:get_stats()
    process[region] = process[region] or NONE
  end
  family(out, "finfocus_region_up", "gauge", "1 when the region's health check passes.",
    single(function(r) return is_ready(r) and 1 or 0 end))
  family(out, "finfocus_region_state", "gauge", "1 for the state the region is in, 0 for the others.",
    function(r) return state_lines(process[r].state) end)
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
    single(function(r) return process[r].ready_seconds and string.format("%.3f", process[r].ready_seconds) end))
  family(out, "finfocus_region_log_lines_total", "counter", "Lines the region has logged.",
    single(function(r) return logs[r] and logs[r].lines or 0 end))
  family(out, "finfocus_region_log_bytes_total", "counter", "Bytes the region has logged.",
    single(function(r) return logs[r] and logs[r].bytes or 0 end))
  family(out, "finfocus_build_info", "gauge", "Always 1; the labels tell the image's version.",
    function() return { { "", string.format(',version="%s"', label_value(os.getenv("FINFOCUS_IMAGE_VERSION") or "")), 1 } } end)
  plain(out, "finfocus_memory_limit_bytes", "Memory limit of the container, 0 for none.", os.getenv("FF_MEMORY_LIMIT"))
  plain(out, "finfocus_memory_need_bytes", "Memory the selected regions take at their start, estimated from the binaries.",
    os.getenv("FF_MEMORY_NEED"))
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
  local missing, in_state, process = {}, { waiting = {}, starting = {} }, read_processes()
  for _, region in ipairs(wanted and { wanted } or REGIONS) do
    if not is_ready(region) then
      missing[#missing + 1] = '"' .. region .. '"'
      local list = in_state[(process[region] or NONE).state]
      if list then
        list[#list + 1] = '"' .. region .. '"'
      end
    end
  end
  local body = string.format('{"ready":%s,"not_ready":[%s],"waiting":[%s],"starting":[%s]}\n', #missing == 0,
    table.concat(missing, ","), table.concat(in_state.waiting, ","), table.concat(in_state.starting, ","))
  respond(applet, #missing == 0 and 200 or 503, "application/json", body)
end)

-- What the body of a 503 says of a region: it starts, or waits for its turn, or does not serve.
core.register_fetches("region_problem", function(_, region)
  local state = (read_processes()[region] or NONE).state
  return (state == "waiting" or state == "starting") and "region is starting" or "region is not available"
end)

-- usage: runs(process)    Whether the process lives and is not stopped; proc(5): Z zombie, X dead, T stopped.
local function runs(process)
  local stat = process and process.pid and io.open("/proc/" .. process.pid .. "/stat", "r")
  if not stat then
    return false
  end
  local text = stat:read("a") or ""
  stat:close()
  return text:find("%) [^ZXT] ") ~= nil
end

-- HAProxy answers, so it is alive; the supervisor's death ends the container; the log writer is left.
core.register_service("livez", "http", function(applet)
  local live = runs(read_processes()["log-writer"])
  respond(applet, live and 200 or 503, "application/json", string.format('{"live":%s,"log_writer":%s}\n', live, live))
end)
