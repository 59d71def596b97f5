-- A strict JSON scanner that records positions, so that lines are spliced, not re-encoded.
--
--   scan(text)   returns whether the text is JSON and, for an object, the positions of its
--                parts (see new_object), which are valid until the next scan
--   quote(text)  the text as a JSON string; any bytes are accepted
--   MAX_LEAVES   number of scalars whose positions are recorded

local tokens = require "logmux.tokens"

local byte, format, gsub, match = string.byte, string.format, string.gsub, string.match
local skip_space, scalar_end, is_utf8 = tokens.skip_space, tokens.scalar_end, tokens.is_utf8
local key_end, key_name = tokens.key_end, tokens.key_name

local COMMA, BRACKET_OPEN, BRACE_OPEN, BRACE_CLOSE = byte(",[{}", 1, -1)

local PLAIN_MEMBER = '^"([%w_]+)"():()' .. tokens.PLAIN_STRING .. "(),"

-- The result of a scan:
--   open                         the opening brace
--   members                      number of keys at the top level, and for each of them
--   names, key_at, key_to          the name and the text of the key; _to is one past the end
--   value_at, value_to             the text of the value
--   leaves, leaf_at, leaf_to     the scalars at any depth; only the first MAX_LEAVES
--   index                        number of the member by name
local function new_object()
  return {
    open = 0,
    members = 0, names = {}, key_at = {}, key_to = {}, value_at = {}, value_to = {},
    leaves = 0, leaf_at = {}, leaf_to = {},
    index = {},
  }
end

-- A Lua pattern may have about 200 repetitions, and a number needs up to three.
local MAX_LEAVES = 32
local MAX_REUSED = 1024

-- Reused, because creating these for each line would take longer than the scan.
local object = new_object()
local closers, depth = {}, 0 -- an explicit stack: deep nesting must not crash the program

local function forget_object()
  local index, names = object.index, object.names
  for i = 1, object.members do
    index[names[i]] = nil
  end
  if object.members > MAX_REUSED then
    object = new_object() -- so that one huge line does not keep its memory
  end
  if closers[MAX_REUSED] then
    closers = {}
  end
  depth, object.members, object.leaves = 0, 0, 0
end

local function add_member(name, key_at, key_to, value_at)
  local i = object.members + 1
  object.members = i
  object.names[i], object.key_at[i], object.key_to[i] = name, key_at, key_to
  object.value_at[i] = value_at
end

local function add_leaf(at, to)
  local i = object.leaves + 1
  object.leaves = i
  if i <= MAX_LEAVES then
    object.leaf_at[i], object.leaf_to[i] = at, to
  end
end

-- Most members are a plain name and a plain string: takes these from pos on with one match
-- each, and returns the position of the first other member.
local function scan_plain_members(text, pos)
  while true do
    local name, key_to, value_at, value_to = match(text, PLAIN_MEMBER, pos)
    if not name then
      return skip_space(text, pos)
    end
    add_member(name, pos, key_to, value_at)
    object.value_to[object.members] = value_to
    add_leaf(value_at, value_to)
    pos = value_to + 1
  end
end

local function scan_member(text, pos)
  if depth > 1 then
    local _, value_at = key_end(text, pos)
    return value_at
  end
  pos = scan_plain_members(text, pos)
  local key_to, value_at = key_end(text, pos)
  if key_to then
    add_member(key_name(text, pos, key_to), pos, key_to, value_at)
  end
  return value_at
end

-- Returns the position of the first value in the container that opens at pos, or nil and,
-- if it is empty, the position of its closer.
local function scan_open(text, pos, opener)
  depth = depth + 1
  closers[depth] = opener + 2 -- in ASCII each closer is its opener plus two
  pos = skip_space(text, pos + 1)
  if byte(text, pos) == opener + 2 then
    return nil, pos
  elseif opener == BRACE_OPEN then
    return scan_member(text, pos)
  end
  return pos
end

-- Returns the position of the value after the one that ended at pos; nil and true at the
-- end of the text; nil if the rest is not JSON.
local function scan_next(text, pos)
  while true do
    local ended_at = pos
    pos = skip_space(text, pos)
    if depth == 0 then
      return nil, pos > #text
    end
    local c = byte(text, pos)
    if depth == 1 then
      object.value_to[object.members] = ended_at
    end
    if c == closers[depth] then
      depth = depth - 1
      pos = pos + 1
    elseif c ~= COMMA then
      return nil
    elseif closers[depth] == BRACE_CLOSE then
      return scan_member(text, skip_space(text, pos + 1))
    else
      return skip_space(text, pos + 1)
    end
  end
end

local function scan_values(text, pos)
  local complete = false
  while pos do
    local c = byte(text, pos)
    local ended_at
    if c == BRACE_OPEN or c == BRACKET_OPEN then
      pos, ended_at = scan_open(text, pos, c)
    else
      ended_at = scalar_end(text, pos)
      if not ended_at then
        return false
      end
      add_leaf(pos, ended_at)
    end
    if ended_at then
      pos, complete = scan_next(text, ended_at)
    end
  end
  return complete
end

local function scan(text)
  forget_object()
  object.open = skip_space(text, 1)
  if not scan_values(text, object.open) or not is_utf8(text) then
    return false
  end
  if byte(text, object.open) ~= BRACE_OPEN then
    return true
  end
  for i = 1, object.members do
    object.index[object.names[i]] = i
  end
  return true, object
end

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\" }

local function quote(text)
  if not is_utf8(text) then
    text = gsub(text, "[\128-\255]", "?")
  end
  return '"' .. gsub(text, '[%c"\\]', function(c)
    return ESCAPES[c] or format("\\u%04x", byte(c))
  end) .. '"'
end

return { scan = scan, quote = quote, MAX_LEAVES = MAX_LEAVES }
