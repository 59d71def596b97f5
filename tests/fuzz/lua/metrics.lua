-- Runs image/metrics.lua unmodified; this file simulates HAProxy's API.
-- usage: load(this)(PROGRAM, COVER) returns run(version, stats, process, log_writer_pid, path, durations, healthy),
--        which returns the body of /metrics, and status and body of the path below /readyz and of /livez.

local program, cover = ...
local REGIONS = { "us-east-1", "eu-west-1" }

return function(version, stats, process, log_writer_pid, path, durations, healthy)
  local environment = {
    FF_HOME = "home", FF_STATE_DIR = "dir", FF_REGIONS = table.concat(REGIONS, " "), FF_MEMORY_LIMIT = "0",
    FF_MEMORY_NEED = "1", FF_REGION_CONNECTIONS = "2", FF_RESTART_LIMIT = "3", FINFOCUS_IMAGE_VERSION = version,
  }
  local log_writer = "log-writer log-writer ready " .. log_writer_pid .. " 1 0 1.5 -\n"
  local files = { ["dir/logmux.stats"] = stats, ["dir/state"] = process .. "\n" .. log_writer }
  os.getenv = function(name) return environment[name] end
  io.open = function(name)
    local text = files[name]
    return text and { read = function() return text end, close = function() end }
  end
  local services, observe, watch = {}, nil, nil
  local said = { status = healthy and "UP" or "DOWN", check_status = healthy and "L7OK" or "L4CON" }
  local function side()
    return {
      servers = { plugin = { get_stats = function() return said end } },
      get_stats = function() return { scur = 1, bin = 2, bout = 3, hrsp_2xx = 4 } end,
    }
  end
  core = {
    now = function() return { sec = 1764000000, usec = 250000 } end,
    msleep = function() coroutine.yield() end,
    register_task = function(run) watch = run end,
    register_action = function(_, _, run) observe = run end,
    register_service = function(name, _, run) services[name] = run end,
    register_fetches = function() end,
    frontends = {}, backends = {},
  }
  io.stderr = { write = function() end }
  for _, region in ipairs(REGIONS) do
    core.frontends[region], core.backends["region-" .. region] = side(), side()
  end

  local function answer(name)
    local applet = { path = path }
    function applet:set_status(status) self.status = status end
    function applet:send(body) self.body = body end
    function applet.add_header() end
    function applet.start_response() end
    services[name](applet)
    return applet
  end

  local life = coroutine.create(function()
    for name in pairs(package.loaded) do
      if name:find "^metrics%." then
        package.loaded[name] = nil
      end
    end
    program()
    local task = coroutine.create(watch)
    assert(coroutine.resume(task))
    for index = 1, #durations do
      local microseconds = durations:byte(index) ^ 3
      local vars = { ["txn.took"] = microseconds, ["txn.rpc"] = "Name", ["txn.code"] = path }
      local fetches = { status = function() return 400 end }
      observe({ f = fetches, get_var = function(_, name) return vars[name] end }, REGIONS[1])
    end
    return answer("metrics"), answer("readyz"), answer("livez")
  end)
  cover(life)
  local ok, metrics, readyz, livez = coroutine.resume(life)
  assert(ok, metrics)
  return metrics.body, readyz.status, readyz.body, livez.status, livez.body
end
