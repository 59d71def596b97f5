-- The page /metrics. Limits and version come from the environment: FF_MEMORY_LIMIT and FF_MEMORY_NEED in bytes,
-- FF_REGION_CONNECTIONS, FF_RESTART_LIMIT, FINFOCUS_IMAGE_VERSION.
--
--   render()            the page
--   saturated(region)   whether the region has reached its connection limit

local durations = require "metrics.durations"
local health = require "metrics.health"
local memory = require "metrics.memory"
local rpcs = require "metrics.rpcs"
local state = require "metrics.state"
local text = require "metrics.text"

local family, plain, single = text.family, text.plain, text.single
local STATES = { "waiting", "starting", "ready", "backoff", "stopping", "stopped", "failed" }
local MOST_CONNECTIONS = tonumber(os.getenv("FF_REGION_CONNECTIONS"))
local VERSION = string.format(',version="%s"', text.label_value(os.getenv("FINFOCUS_IMAGE_VERSION") or ""))

local function front_stats(region)
  return core.frontends[region]:get_stats()
end

local function saturated(region)
  return (front_stats(region).scur or 0) >= MOST_CONNECTIONS
end

local function state_lines(current)
  local lines = {}
  for index, name in ipairs(STATES) do
    lines[index] = { "", string.format(',state="%s"', name), name == current and 1 or 0 }
  end
  return lines
end

local function code_class_lines(front)
  local lines = {}
  for class = 1, 5 do
    lines[class] = { "", string.format(',code="%dxx"', class), front["hrsp_" .. class .. "xx"] or 0 }
  end
  return lines
end

local function requests(out, front, back)
  family(out, "finfocus_region_requests_total", "counter", "Responses on the region's public port by class of status code.",
    function(r) return code_class_lines(front[r]) end)
  family(out, "finfocus_region_rpcs_total", "counter", "Responses to gRPC, gRPC-Web and Connect calls by method and code.",
    rpcs.lines)
  family(out, "finfocus_region_aborted_requests_total", "counter", "Requests without a complete response, by the side that aborted them.",
    function(r)
      return { { "", ',by="client"', back[r].cli_abrt or 0 }, { "", ',by="plugin"', back[r].srv_abrt or 0 } }
    end)
  family(out, "finfocus_region_request_duration_seconds", "histogram",
    "Time from the request to the headers of the plugin's response.", durations.lines)
  family(out, "finfocus_region_requests_in_flight", "gauge", "Requests the plugin is handling.",
    single(function(r) return back[r].scur or 0 end))
end

local function connections(out, front)
  family(out, "finfocus_region_connections", "gauge", "Client connections to the region's public port.",
    single(function(r) return front[r].scur or 0 end))
  family(out, "finfocus_region_connections_limit", "gauge", "Limit of connections; requests on further ones get a 503.",
    single(function() return MOST_CONNECTIONS end))
  family(out, "finfocus_region_refused_total", "counter",
    "Connections closed, and requests answered with 503, because the region had reached its connection limit.",
    single(function(r) return (front[r].dcon or 0) + (front[r].dreq or 0) end))
  family(out, "finfocus_region_received_bytes_total", "counter", "Bytes received on the region's public port.",
    single(function(r) return front[r].bin or 0 end))
  family(out, "finfocus_region_sent_bytes_total", "counter", "Bytes sent on the region's public port.",
    single(function(r) return front[r].bout or 0 end))
end

local function processes(out, process)
  family(out, "finfocus_region_up", "gauge", "1 when the region's health check passes.",
    single(function(r) return health.is_ready(r) and 1 or 0 end))
  family(out, "finfocus_region_state", "gauge", "1 for the state the region is in, 0 for the others.",
    function(r) return state_lines(process[r].state) end)
  family(out, "finfocus_region_restarts_total", "counter", "Restarts of the region after a failure.",
    single(function(r) return math.max(0, process[r].starts - 1) end))
  family(out, "finfocus_region_failures", "gauge", "Consecutive failures of the region; reset after a stable time.",
    single(function(r) return process[r].failures end))
  family(out, "finfocus_region_start_time_seconds", "gauge", "Last start of the region's process, seconds since the epoch.",
    single(function(r) return process[r].started_at and text.number(process[r].started_at) end))
  family(out, "finfocus_region_ready_seconds", "gauge", "Time from the last start to the first passed health check.",
    single(function(r) return process[r].ready_seconds and string.format("%.3f", process[r].ready_seconds) end))
end

local function logs(out, counts)
  family(out, "finfocus_region_log_lines_total", "counter", "Lines the region has logged.",
    single(function(r) return counts[r] and counts[r].lines or 0 end))
  family(out, "finfocus_region_log_bytes_total", "counter", "Bytes the region has logged.",
    single(function(r) return counts[r] and counts[r].bytes or 0 end))
end

local function container(out)
  family(out, "finfocus_build_info", "gauge", "Always 1; the label has the image's version.",
    function() return { { "", VERSION, 1 } } end)
  plain(out, "finfocus_restart_limit", "Consecutive restarts after which one more failure stops the container, 0 for no limit.",
    os.getenv("FF_RESTART_LIMIT"))
  plain(out, "finfocus_memory_limit_bytes", "Memory limit of the container, 0 for none.", os.getenv("FF_MEMORY_LIMIT"))
  plain(out, "finfocus_memory_need_bytes", "Memory the selected regions need at startup, estimated from the binaries.",
    os.getenv("FF_MEMORY_NEED"))
  local used = memory.working_set()
  if used then
    plain(out, "finfocus_memory_working_set_bytes", "Memory of the container that the kernel cannot just drop.", used)
  end
end

local function render()
  local out, front, back = {}, {}, {}
  for _, region in ipairs(state.regions) do
    front[region], back[region] = front_stats(region), core.backends["region-" .. region]:get_stats()
  end
  processes(out, state.processes())
  requests(out, front, back)
  connections(out, front)
  logs(out, state.log_counts())
  container(out)
  return table.concat(out)
end

return { render = render, saturated = saturated }
