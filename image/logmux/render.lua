-- Renders one line, by its kind.
--
--   object(stream, text, object, now)  a JSON object; `object` is the result of json.scan
--   value(stream, text, now)           other JSON
--   text(stream, text, now)            anything else
--   ignore(patterns)                   drop text on an own stream that matches one of these Lua patterns
--   region_name(object, nth)           the new name of the object's nth "region" key
--
-- Uses the stream's `name`, `prefix` and `own`; `now` is a formatted time.

local json = require "logmux.json"

local find, match, sub, concat = string.find, string.match, string.sub, table.concat

-- HAProxy's levels on stderr, and the digits in its log (sd-daemon(3)).
local LEVELS = {
  EMERG = "error", ALERT = "error", WARNING = "warn", NOTICE = "info",
  ["0"] = "error", ["1"] = "error", ["2"] = "error", ["3"] = "error", ["4"] = "warn", ["5"] = "info", ["6"] = "info",
}

local ignored = {}

local function ignore(patterns)
  ignored = patterns
end

-- A name for the object's nth "region" key that no other key has.
local function region_name(object, nth)
  local name, n = "plugin_region", 1
  while true do
    if not object.index[name] then
      nth = nth - 1
      if nth == 0 then
        return name
      end
    end
    n = n + 1
    name = "plugin_region_" .. n
  end
end

-- The object's text after its brace, with every "region" key renamed.
local function without_region(text, object)
  local parts, pos, regions = {}, object.open + 1, 0
  for i = 1, object.members do
    if object.names[i] == "region" then
      regions = regions + 1
      parts[#parts + 1] = sub(text, pos, object.key_at[i])
      parts[#parts + 1] = region_name(object, regions)
      pos = object.key_to[i] - 1
    end
  end
  parts[#parts + 1] = sub(text, pos)
  return concat(parts)
end

local function timestamp(text, object, now)
  local i = object.index.time
  return i and sub(text, object.value_at[i], object.value_to[i] - 1) or '"' .. now .. '"'
end

local function render_object(stream, text, object, now)
  local index = object.index
  local keeps_region = stream.own and index.region
  local rest = index.region and not keeps_region and without_region(text, object)
    or sub(text, object.open + 1)
  local added = (keeps_region and "" or '"region":"' .. stream.name .. '",')
    .. (index.timestamp and "" or '"timestamp":' .. timestamp(text, object, now) .. ",")
    .. (index.level and "" or '"level":"info",')
  if object.members == 0 then
    added = sub(added, 1, -2) -- no comma before the end of an empty object
  end
  return sub(text, 1, object.open) .. added .. rest .. "\n"
end

local function render_value(stream, text, now)
  return concat {
    '{"region":"', stream.name, '","timestamp":"', now, '","level":"info","message":', text, "}\n",
  }
end

-- The container's own processes log JSON; text, such as an error of HAProxy, becomes an object.
local function render_own_text(stream, text, now)
  for _, pattern in ipairs(ignored) do
    if find(text, pattern) then
      return ""
    end
  end
  local digit, rest = match(text, "^<([0-6])>(.*)$")
  local level = LEVELS[digit or match(text, "^%[(%u+)%]")] or "warn"
  return concat {
    '{"region":"', stream.name, '","timestamp":"', now, '","level":"', level, '","message":', json.quote(rest or text), "}\n",
  }
end

local function render_text(stream, text, now)
  if stream.own then
    return render_own_text(stream, text, now)
  end
  return stream.prefix .. text .. "\n"
end

return {
  object = render_object, value = render_value, text = render_text, region_name = region_name,
  ignore = ignore,
}
