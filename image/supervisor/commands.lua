-- The command of each process: of(settings) maps names to commands for processes.start.

local BINARY = "/bin/finfocus-plugin-aws-public-"
-- HAProxy prints these for each change of a region's health and each port that it closes, in the same words from 2.6 to
-- 3.4, and no setting disables them. The supervisor logs both events as JSON.
local NOISE = {
  "Server region%-%S+/plugin is %u+", "backend '?region%-%S+ has no server available!", "Proxy %S+ stopped %(cumulated",
}

-- Plugins up to version 0.1.5 have no --port and read the variable; later ones accept both.
local function plugin(settings, region, mark)
  local stream = settings.state .. "/" .. region.name
  return {
    path = settings.home .. BINARY .. region.name,
    arguments = { "--port", tostring(region.port) },
    environ = { FINFOCUS_PLUGIN_PORT = tostring(region.port) },
    out = stream .. ".out", err = stream .. ".err", mark = mark, expendable = true,
  }
end

local function log_writer(settings, mark)
  local arguments = { "-E", settings.home .. "/logmux.lua", "--mark", mark, "--state", settings.state }
  local function add(...)
    for _, word in ipairs { ... } do
      arguments[#arguments + 1] = word
    end
  end
  for _, pattern in ipairs(NOISE) do
    add("--ignore", pattern)
  end
  add("--own", "-=" .. settings.state .. "/supervisor", "--own", "-=" .. settings.state .. "/proxy")
  for _, region in ipairs(settings.regions) do
    local stream = region.name .. "=" .. settings.state .. "/" .. region.name
    add(stream .. ".out", stream .. ".err")
  end
  return { path = settings.lua, arguments = arguments }
end

local function proxy(settings)
  local stream = settings.state .. "/proxy"
  local arguments = { "-db" }
  for _, path in ipairs {
    settings.state .. "/settings.cfg", settings.home .. "/haproxy.cfg", settings.state .. "/regions.cfg",
  } do
    arguments[#arguments + 1] = "-f"
    arguments[#arguments + 1] = path
  end
  return { path = settings.haproxy, arguments = arguments, out = stream, err = stream }
end

local function of(settings)
  -- Marks for the log writer where a new process begins; random, so that no plugin prints it by accident.
  local mark = settings.state:match "[^.]*$" .. settings.state:byte(-1)
  local commands = { ["log-writer"] = log_writer(settings, mark), proxy = proxy(settings) }
  for _, region in ipairs(settings.regions) do
    commands[region.name] = plugin(settings, region, "\x1e" .. mark .. "\n")
  end
  return commands
end

return { of = of }
