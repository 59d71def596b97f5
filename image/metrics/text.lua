-- The Prometheus text format: https://prometheus.io/docs/instrumenting/exposition_formats/
-- The label is not `region`, because many clusters add their own `region` to every series.
--
--   family(out, name, kind, help, sample)    appends a family; sample(region) gives a list of { suffix, labels, value }
--   single(value_of)                         a sample function for one value per region; no sample if it is nil
--   plain(out, name, help, value)            appends a gauge of the container, without a region
--   number(value)                            the text of a number; 0 for anything else
--   label_value(text)                        any text, escaped for a label's quotes

local state = require "metrics.state"

local ESCAPES = { ["\\"] = "\\\\", ['"'] = '\\"', ["\n"] = "\\n" }

-- A family is written once with its HELP and TYPE.
local function family(out, name, kind, help, sample)
  out[#out + 1] = string.format("# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
  for _, region in ipairs(state.regions) do
    for _, line in ipairs(sample(region)) do
      local suffix, labels, value = line[1], line[2], line[3]
      out[#out + 1] = string.format('%s%s{finfocus_region="%s"%s} %s\n', name, suffix, region, labels, value)
    end
  end
end

local function single(value_of)
  return function(region)
    local value = value_of(region)
    return value and { { "", "", value } } or {}
  end
end

local function plain(out, name, help, value)
  out[#out + 1] = string.format("# HELP %s %s\n# TYPE %s gauge\n%s %s\n", name, help, name, name, value)
end

local function number(value)
  return string.format("%.15g", tonumber(value) or 0)
end

-- Prometheus rejects a whole scrape for a byte that is not UTF-8; Lua 5.3 accepts encoded surrogates.
local function is_utf8(text)
  return utf8.len(text) and not text:find("\xED[\xA0-\xBF]")
end

local function label_value(text)
  if not is_utf8(text) then
    text = text:gsub("[\128-\255]", "?")
  end
  return (text:gsub('[\\"\n]', ESCAPES))
end

return { family = family, single = single, plain = plain, number = number, label_value = label_value }
