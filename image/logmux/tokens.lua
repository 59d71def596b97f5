-- JSON tokens, strictly by RFC 8259. The text may be anything; without a valid token the
-- end is nil. Ends are one past the last byte.
--
--   skip_space(text, pos)     the position of the next token
--   scalar_end(text, pos)     the end of the string, number or literal at pos, or nil
--   key_end(text, pos)        the end of the key at pos and the position of its value, or nil
--   key_name(text, from, to)  the name of the key between these positions
--   is_utf8(text)             whether it is strict UTF-8, which the others do not check
--   PLAIN_STRING              a pattern for a string; not every string fits
--   LITERALS                  patterns for true, false and null, by their first byte

local byte, find, gsub, match, sub = string.byte, string.find, string.gsub, string.match, string.sub
local char = string.char

local QUOTE, DOT, COLON, BACKSLASH = byte('".:\\', 1, -1)

-- A string of printable ASCII without escapes, the most frequent ranges first.
local PLAIN_STRING = '"[_-~#-[ !%]^]*"'

local function skip_space(text, pos)
  local c = byte(text, pos)
  -- Machine-written JSON has no space between tokens: skip the pattern match.
  if c and c <= 32 then
    return match(text, "^[ \t\r\n]*()", pos)
  end
  return pos
end

local function string_end(text, pos)
  pos = pos + 1
  while true do
    pos = match(text, '^[^"\\\0-\31]*()', pos)
    local c = byte(text, pos)
    if c == QUOTE then
      return pos + 1
    elseif c == BACKSLASH then
      pos = match(text, '^\\["\\/bfnrt]()', pos) or match(text, "^\\u%x%x%x%x()", pos)
      if not pos then
        return nil
      end
    else
      return nil
    end
  end
end

local function number_end(text, pos)
  local next_pos = match(text, "^-?[1-9]%d*()", pos) or match(text, "^-?0()", pos)
  if next_pos and byte(text, next_pos) == DOT then
    next_pos = match(text, "^%.%d+()", next_pos)
  end
  if next_pos and find(text, "^[eE]", next_pos) then
    next_pos = match(text, "^[eE][+-]?%d+()", next_pos)
  end
  return next_pos
end

local LITERALS = { [byte "t"] = "^true()", [byte "f"] = "^false()", [byte "n"] = "^null()" }

local function scalar_end(text, pos)
  local c = byte(text, pos)
  if c == QUOTE then
    return string_end(text, pos)
  elseif LITERALS[c] then
    return match(text, LITERALS[c], pos)
  end
  return number_end(text, pos)
end

local function key_end(text, pos)
  if byte(text, pos) ~= QUOTE then
    return nil
  end
  local after = string_end(text, pos)
  if not after then
    return nil
  end
  pos = skip_space(text, after)
  if byte(text, pos) ~= COLON then
    return nil
  end
  return after, skip_space(text, pos + 1)
end

-- Lua 5.3 accepts encoded surrogates, which RFC 3629 forbids.
local function is_utf8(text)
  return utf8.len(text) and not (find(text, "\xED", 1, true) and find(text, "\xED[\xA0-\xBF]"))
end

local function decode_escape(letter, digits)
  local code = letter == "u" and tonumber(digits, 16)
  if code and code < 128 then
    return char(code)
  end
  return nil
end

-- Key names are only ever compared with ASCII names, so other escapes may stay.
local function key_name(text, from, to)
  local name = sub(text, from + 1, to - 2)
  if find(name, "\\", 1, true) then
    return (gsub(name, "\\(.)(%x?%x?%x?%x?)", decode_escape))
  end
  return name
end

return {
  skip_space = skip_space, scalar_end = scalar_end, key_end = key_end, key_name = key_name,
  is_utf8 = is_utf8, PLAIN_STRING = PLAIN_STRING, LITERALS = LITERALS,
}
