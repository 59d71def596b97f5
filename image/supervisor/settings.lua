-- The settings that the shell has checked, from the command line `NAME=VALUE... REGION:PORT...`, and the environment
-- that the container was given, from standard input.
--
--   parse(words)           a table of the settings; `regions` is the list of { name, port } in start order,
--                          `port` is where the plugin listens
--   adopt_environment()    makes the given environment this process's own, byte for byte

local stdlib = require "posix.stdlib"

local function parse(words)
  local settings = { regions = {} }
  for _, word in ipairs(words) do
    local name, value = word:match "^([%w_]+)=(.*)$"
    if name then
      settings[name] = tonumber(value) or value
    else
      local region, port = word:match "^(.+):(%d+)$"
      settings.regions[#settings.regions + 1] = { name = region, port = math.tointeger(port) }
    end
  end
  return settings
end

local function adopt_environment()
  local given = io.stdin:read "a"
  for name in pairs(stdlib.getenv()) do
    stdlib.setenv(name, nil)
  end
  for name, value in given:gmatch "([^=\0]+)=([^\0]*)\0" do
    stdlib.setenv(name, value)
  end
end

return { parse = parse, adopt_environment = adopt_environment }
