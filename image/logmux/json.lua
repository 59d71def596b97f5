-- JSON: a strict scanner that keeps positions, so that lines are spliced, not re-encoded.
--
--   scan(text)   whether the text is JSON; if it is an object, also where its parts are,
--                as new_object says, which holds until the next scan
--   quote(text)  the text as a JSON string, whatever bytes it has
--   MAX_LEAVES   the positions of so many scalars are kept

local tokens = require "logmux.tokens"

local byte, format, gsub, match = string.byte, string.format, string.gsub, string.match
local skip_space, scalar_end, is_utf8 = tokens.skip_space, tokens.scalar_end, tokens.is_utf8
local key_end, key_name = tokens.key_end, tokens.key_name

local COMMA, BRACKET_OPEN, BRACE_OPEN, BRACE_CLOSE = byte(",[{}", 1, -1)

local PLAIN_MEMBER = '^"([%w_]+)"():()' .. tokens.PLAIN_STRING .. "(),"

-- What a scan finds:
--   open                         the opening brace
--   members                      how many keys of its own (not nested) it has, and for each
--   names, key_at, key_to          the name and the text of the key; _to is one behind
--   value_at, value_to             the text of the value
--   leaves, leaf_at, leaf_to     the scalars in it, at any depth; the first MAX_LEAVES only
--   index                        which member a name stands for
local function new_object()
  return {
    open = 0,
    members = 0, names = {}, key_at = {}, key_to = {}, value_at = {}, value_to = {},
    leaves = 0, leaf_at = {}, leaf_to = {},
    index = {},
  }
end

-- Lua allows a pattern some 200 repetitions, and a number takes up to three.
local MAX_LEAVES = 32
local MAX_REUSED = 1024

-- To make these anew for each line would take longer than the scan.
local object = new_object()
local closers, depth = {}, 0 -- a stack of its own: deep nesting must not end the program

local function forget_object()
  local index, names = object.index, object.names
  for i = 1, object.members do
    index[names[i]] = nil
  end
  if object.members > MAX_REUSED then
    object = new_object() -- lest one huge line keeps its memory for ever
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

-- Most members are a plain name and a plain string: takes all those there are from pos on
-- with one match for each, and returns where the first other one is.
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

-- Returns where the first value in the container that opens at pos is, or nil and, if it
-- is empty, where it closes.
local function scan_open(text, pos, opener)
  depth = depth + 1
  closers[depth] = opener + 2 -- in ASCII each closer is two behind its opener
  pos = skip_space(text, pos + 1)
  if byte(text, pos) == opener + 2 then
    return nil, pos
  elseif opener == BRACE_OPEN then
    return scan_member(text, pos)
  end
  return pos
end

-- Given where a value ended, returns where the next is; nil and true at the end of the
-- text, nil if what follows is not JSON.
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
