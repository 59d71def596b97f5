-- The HTTP services of the metrics port, the regions' health for the supervisor, and the counters of responses. Runs in
-- HAProxy.
--
-- Reads: the environment that prepare.sh writes for it (FF_...), and the state directory: see metrics/state.lua,
-- metrics/health.lua and metrics/page.lua.

package.path = os.getenv("FF_HOME") .. "/?.lua;" .. package.path

local durations = require "metrics.durations"
local health = require "metrics.health"
local page = require "metrics.page"
local rpcs = require "metrics.rpcs"
local state = require "metrics.state"

local LOGS_ACCESS = os.getenv("FF_ACCESS_LOG") == "1"

core.register_task(health.watch)

core.register_action("observe", { "http-res" }, function(txn, region)
  durations.count(region, txn:get_var("txn.took"))
  if health.ends_connections() then
    txn:set_var("txn.last", true)
  end
  local code = rpcs.count(txn, region)
  if code and LOGS_ACCESS then
    txn:set_var("txn.code", code)
  end
end, 1)

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
  respond(applet, 200, "text/plain; version=0.0.4; charset=utf-8", page.render())
end)

local function known(region)
  for _, name in ipairs(state.regions) do
    if name == region then
      return true
    end
  end
  return false
end

-- usage: names(regions, test)    A JSON list of the regions that pass the test, and their number.
local function names(regions, test)
  local quoted = {}
  for _, region in ipairs(regions) do
    if test(region) then
      quoted[#quoted + 1] = '"' .. region .. '"'
    end
  end
  return "[" .. table.concat(quoted, ",") .. "]", #quoted
end

-- A saturated region fails only its own check: its clients do not use up the connections of the others.
core.register_service("readyz", "http", function(applet)
  local wanted = applet.path:match("^/readyz/(.+)$")
  if wanted and not known(wanted) then
    return respond(applet, 404, "application/json", '{"error":"region is not selected in this container"}\n')
  end
  local regions, process, fails = wanted and { wanted } or state.regions, state.processes(), {}
  local missing, count = names(regions, function(region)
    fails[region] = not health.is_ready(region)
    return fails[region]
  end)
  local function in_state(name)
    return (names(regions, function(region) return fails[region] and process[region].state == name end))
  end
  local saturated, full = names(regions, page.saturated)
  local ready = count == 0 and not (wanted and full > 0)
  local body = string.format('{"ready":%s,"not_ready":%s,"waiting":%s,"starting":%s,"saturated":%s}\n', ready, missing,
    in_state("waiting"), in_state("starting"), saturated)
  respond(applet, ready and 200 or 503, "application/json", body)
end)

-- usage: lua.region_problem(REGION,KIND)    The error in the body of the proxy's own response. KIND is the status
-- or `refused`.
local PROBLEMS = {
  refused = "region has reached its connection limit", ["502"] = "region aborted its response",
  ["504"] = "region timed out",
}

core.register_fetches("region_problem", function(txn, region, kind)
  rpcs.refuse(txn, region, tonumber(kind) or 503)
  local process = state.processes()[region].state
  local starts = process == "waiting" or process == "starting"
  return PROBLEMS[kind] or starts and "region is starting" or "region is not available"
end)

-- usage: runs(process)    Whether the process lives and is not stopped; proc(5): Z zombie, X dead, T stopped.
local function runs(process)
  local stat = process.pid and state.read("/proc/" .. process.pid .. "/stat")
  return stat ~= nil and stat:find("%) [^ZXT] ") ~= nil
end

-- Only the log writer needs a check: HAProxy is responding, and the container exits with the supervisor.
core.register_service("livez", "http", function(applet)
  local live = runs(state.processes()["log-writer"])
  respond(applet, live and 200 or 503, "application/json", string.format('{"live":%s,"log_writer":%s}\n', live, live))
end)
