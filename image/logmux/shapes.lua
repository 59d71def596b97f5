-- Shapes: a fast path. A plugin logs the same few sets of keys with different values. For
-- such lines one comparison and one pattern replace the scanner and the renderer, several
-- times as fast. A shape has two parts:
--   lead     the first members, literally, because loggers put their constants there; a
--            line that differs earlier ends the lead before the member that differs
--   pattern  for the rest, with the text between the values taken literally; strings match
--            only if they are plain printable ASCII, so a match is always valid JSON
--
--   new(own, name)               the shapes of one stream, none yet; `known` is the list
--   learn(shapes, text, object)  learns from a line; `object` is the result of json.scan
--   splice(known, chunk, pos)    renders the line at pos; returns it and the position of the
--                                next line, or nil if no known shape fits
--
-- The output is the same as that of render.object.

local json = require "logmux.json"
local render = require "logmux.render"
local tokens = require "logmux.tokens"

local byte, find, gsub, match, sub = string.byte, string.find, string.gsub, string.match, string.sub
local concat = table.concat
local region_name = render.region_name
local PLAIN_STRING, LITERALS, MAX_LEAVES = tokens.PLAIN_STRING, tokens.LITERALS, json.MAX_LEAVES

local QUOTE = byte '"'

local MAX_SHAPES = 8
local MAX_LEARN_EVERY = 256
local MAX_LEARN_BYTES = 4096

local function literal(text)
  return (gsub(text, "%W", "%%%0"))
end

-- Each notation has its own pattern, because Lua's patterns have no alternation.
local function number_pattern(text)
  local whole = find(text, "^-?0") and "%-?0" or "%-?[1-9]%d*"
  local fraction = find(text, ".", 1, true) and "%.%d+" or ""
  return whole .. fraction
end

local function leaf_pattern(text)
  local c = byte(text)
  if c == QUOTE then
    return PLAIN_STRING
  elseif LITERALS[c] or find(text, "[eE]") then
    return literal(text)
  end
  return number_pattern(text)
end

-- Whether all keys are distinct (so that the index has them all) and the time is a scalar.
local function is_regular(object)
  local distinct = 0
  for _ in pairs(object.index) do
    distinct = distinct + 1
  end
  local time_at = object.value_at[object.index.time]
  for i = 1, object.leaves do
    if object.leaf_at[i] == time_at then
      return distinct == object.members
    end
  end
  return false
end

-- Only common forms are worth a shape.
local function is_typical(text, object)
  return object.open == 1 and object.leaves <= MAX_LEAVES and #text <= MAX_LEARN_BYTES
    and object.index.time and not object.index.timestamp
    and not find(text, "\\", 1, true) and find(text, "^[ -~]*$")
    and is_regular(object)
end

-- The pattern for the text from pos to its end. Its captures, in the order in which they
-- open: the rest of the line (in two parts, before and after the name of the region key to
-- rename at `region`), the value of the time, and the position of the next line.
local function pattern_for(text, object, pos, region)
  local region_at = region and object.key_at[region]
  local parts = { "^(" }
  local function add_literal(from, to)
    if region and from <= region_at and region_at <= to then
      parts[#parts + 1] = literal(sub(text, from, region_at)) .. ")region("
      from = object.key_to[region] - 1
    end
    parts[#parts + 1] = literal(sub(text, from, to))
  end

  local time_at = object.value_at[object.index.time]
  local level_at = object.value_at[object.index.level or 0]
  for i = 1, object.leaves do
    local at, to = object.leaf_at[i], object.leaf_to[i]
    -- The level stays literal, so that each level learns its own lead.
    if at >= pos and at ~= level_at then
      local leaf = leaf_pattern(sub(text, at, to - 1))
      add_literal(pos, at - 1)
      parts[#parts + 1] = at == time_at and "(" .. leaf .. ")" or leaf
      pos = to
    end
  end
  add_literal(pos, #text)
  parts[#parts + 1] = "\n)()"
  return concat(parts)
end

-- The splices combine the captures of a shape's pattern. Each returns the line to write
-- and the position of the next line.
local function splice_whole(shape, rest, stamp, next_pos)
  return shape.open .. stamp .. shape.lead_out .. rest, next_pos
end

local function splice_time_first(shape, head, stamp, tail, next_pos)
  return shape.open .. stamp .. shape.lead_out .. head .. shape.renamed .. tail, next_pos
end

local function splice_region_first(shape, head, tail, stamp, next_pos)
  return shape.open .. stamp .. shape.lead_out .. head .. shape.renamed .. tail, next_pos
end

local function splice_for(object, region)
  if not region then
    return splice_whole
  end
  return object.index.time < region and splice_time_first or splice_region_first
end

-- The length of the lead: whole members before the time, ending before byte `limit`.
local function lead_length(object, limit)
  local length = object.open
  for i = 1, object.index.time do
    if object.key_at[i] <= limit then
      length = object.key_at[i] - 1
    end
  end
  return length
end

local function first_difference(a, b)
  local low, high = 0, math.min(#a, #b)
  while low < high do
    local middle = (low + high + 1) // 2
    if sub(a, 1, middle) == sub(b, 1, middle) then
      low = middle
    else
      high = middle - 1
    end
  end
  return low + 1
end

local function new_shape(shapes, text, object, skeleton, limit)
  local index, length = object.index, lead_length(object, limit)
  local keeps_region = shapes.own and index.region
  local region, lead_out = not shapes.own and index.region, sub(text, 2, length)
  if region and object.key_at[region] <= length then
    lead_out = sub(text, 2, object.key_at[region]) .. region_name(object, 1)
      .. sub(text, object.key_to[region] - 1, length)
    region = nil -- renamed in the lead
  end
  return {
    skeleton = skeleton,
    lead = sub(text, 1, length),
    lead_length = length,
    pattern = pattern_for(text, object, length + 1, region),
    splice = splice_for(object, region),
    open = (keeps_region and "{" or '{"region":"' .. shapes.name .. '",') .. '"timestamp":',
    lead_out = (index.level and "," or ',"level":"info",') .. lead_out,
    renamed = region and region_name(object, 1),
  }
end

-- Returns the place in the list for the line's shape, and the first byte that its lead must
-- not include. A stream whose lines have nothing in common must not pay for learning each
-- of them: the more shapes are evicted, the rarer a new one is learnt.
local function place_for(shapes, text, skeleton)
  local known = shapes.known
  for i, shape in ipairs(known) do
    if shape.skeleton == skeleton then
      return i, first_difference(shape.lead, text)
    end
  end
  if #known < MAX_SHAPES then
    return #known + 1, #text
  end
  shapes.learn_every = math.min(shapes.learn_every * 2, MAX_LEARN_EVERY)
  return MAX_SHAPES, #text
end

local function learn(shapes, text, object)
  shapes.unlearnt = shapes.unlearnt + 1
  if shapes.unlearnt < shapes.learn_every then
    return
  end
  shapes.unlearnt = 0
  if is_typical(text, object) then
    local skeleton = pattern_for(text, object, 1)
    local place, limit = place_for(shapes, text, skeleton)
    shapes.known[place] = new_shape(shapes, text, object, skeleton, limit)
  end
end

local function splice(known, chunk, pos)
  for i = 1, #known do
    local shape = known[i]
    local length = shape.lead_length
    if sub(chunk, pos, pos + length - 1) == shape.lead then
      local a, b, c, d = match(chunk, shape.pattern, pos + length)
      if a then
        if i > 1 then
          known[i], known[1] = known[1], shape
        end
        return shape.splice(shape, a, b, c, d)
      end
    end
  end
  return nil
end

local function new(own, name)
  return { own = own, name = name, known = {}, unlearnt = 0, learn_every = 1 }
end

return { new = new, learn = learn, splice = splice }
