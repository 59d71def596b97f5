-- logmux: the one writer of the container's stdout.
--
-- Reads the output of every plugin from FIFOs, turns each line into a record that
-- names its region, and writes the lines to stdout one after the other.
--
--   lua5.3 logmux.lua --mark TOKEN --state DIR [--own NAME=PATH]... [NAME=PATH]...
--
--   NAME=PATH        a stream and the region its lines belong to; a NAME may occur
--                    more than once (stdout and stderr of one plugin)
--   --own NAME=PATH  a stream of the container's own parts: a JSON object that has a
--                    "region" already keeps it
--   --mark TOKEN     "\x1e" TOKEN "\n" in a stream says: a new process writes from here.
--                    What stands before it on its line is the end of a line that the
--                    process before did not finish; the mark itself is never written.
--   --state DIR      where the journal and the counters live; meant to be a tmpfs
--
-- What becomes of a line (its CR, if it ends in CR LF, is dropped):
--   a JSON object     stays byte for byte, but "region":"NAME", and, where absent,
--                     "timestamp" (the text of its "time", else now) and
--                     "level":"info" are put behind the first brace; a "region" of its
--                     own becomes "plugin_region" (or "plugin_region_2", ...)
--   other valid JSON  becomes the "message" of such an object
--   anything else     is written as "[NAME] line"
-- Valid means RFC 8259 on strict UTF-8. Nesting may be as deep as a line is long.
--
-- Guarantees:
--   * A line of up to 4 MiB comes out whole. A longer one is written as several lines,
--     "[NAME] piece", each of 4 MiB but for the last.
--   * Nothing is dropped. While stdout is slow nothing is read, so the writers wait;
--     memory is bounded by one read per stream and the unfinished line it carries.
--   * A SIGKILL of this program loses, tears or doubles nothing once it is started
--     again with the same arguments, because the journal holds every byte read and not
--     yet written. Two gaps of some microseconds are left, as no system call closes
--     them: from a read to its journal entry, and from a write to its journal entry.
--   * The program ends when every stream has ended, and not by SIGTERM, SIGINT, SIGHUP
--     or SIGPIPE. A FIFO that nobody holds open for writing has ended, so the
--     supervisor opens each one before it starts this program.
--
-- Files in DIR:
--   logmux.journal   the state at some moment, then what was read and written since;
--                    replaced about every MiB, removed at a clean end
--   logmux.stats     "NAME lines bytes", one line per NAME, counted on the input without
--                    the marks; replaced at most once a second, and at the end
--
-- Exit status: 0 all streams ended, 1 stdout is gone (the journal keeps the rest),
-- 64 bad arguments, 70 an error in this program.

local errno = require "posix.errno"
local fcntl = require "posix.fcntl"
local signal = require "posix.signal"
local poll = require("posix.poll").poll
local time = require "posix.time"
local unistd = require "posix.unistd"

local byte, find, gsub, match, sub = string.byte, string.find, string.gsub, string.match, string.sub
local char, format = string.char, string.format
local concat = table.concat
local read, write = unistd.read, unistd.write

local READ_BYTES = 64 * 1024
local LINE_LIMIT = 4 * 1024 * 1024
local FLUSH_BYTES = 64 * 1024
local JOURNAL_BYTES = 1024 * 1024
local STATS_INTERVAL_MS = 1000

local STDOUT = 1
local EXIT_STDOUT_GONE, EXIT_USAGE, EXIT_BUG = 1, 64, 70

local QUOTE, COMMA, DOT, COLON, BACKSLASH = byte('",.:\\', 1, -1)
local BRACKET_OPEN, BRACE_OPEN, BRACE_CLOSE = byte("[{}", 1, -1)
local CARRIAGE_RETURN = byte("\r")

---------------------------------------------------------------------------------------
-- Clock
---------------------------------------------------------------------------------------

local function milliseconds(clock)
  local now = time.clock_gettime(clock)
  return now.tv_sec * 1000 + now.tv_nsec // 1000000
end

local function rfc3339(ms)
  return os.date("!%Y-%m-%dT%H:%M:%S", ms // 1000) .. format(".%03dZ", ms % 1000)
end

---------------------------------------------------------------------------------------
-- JSON: a strict scanner that keeps positions, so that lines are spliced, not re-encoded
---------------------------------------------------------------------------------------

-- A string of printable ASCII without escapes, the most frequent ranges first.
local PLAIN_STRING = '"[_-~#-[ !%]^]*"'
local PLAIN_MEMBER = '^"([%w_]+)"():()' .. PLAIN_STRING .. "(),"

local function skip_space(text, pos)
  local c = byte(text, pos)
  -- Machine-written JSON has no space between tokens: spare it the pattern match.
  if c and c <= 32 then
    return match(text, "^[ \t\r\n]*()", pos)
  end
  return pos
end

-- The position behind the string that opens at pos, or nil.
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

-- The positions behind a key and of the value that follows it, or nil.
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

-- Lua 5.3 lets encoded surrogates pass, which RFC 3629 forbids.
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

-- What the last scan found:
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

-- Returns whether the text is JSON, and whether that is an object, described in `object`.
local function scan(text)
  forget_object()
  object.open = skip_space(text, 1)
  if not scan_values(text, object.open) or not is_utf8(text) then
    return false
  end
  if byte(text, object.open) ~= BRACE_OPEN then
    return true, false
  end
  for i = 1, object.members do
    object.index[object.names[i]] = i
  end
  return true, true
end

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\" }

local function json_string(text)
  if not is_utf8(text) then
    text = gsub(text, "[\128-\255]", "?")
  end
  return '"' .. gsub(text, '[%c"\\]', function(c)
    return ESCAPES[c] or format("\\u%04x", byte(c))
  end) .. '"'
end

---------------------------------------------------------------------------------------
-- Rendering one line
---------------------------------------------------------------------------------------

-- A name for the nth "region" key of the object that none of its keys has.
local function region_name(nth)
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

-- The object's text behind its brace, with every "region" key renamed.
local function without_region(text)
  local parts, pos, regions = {}, object.open + 1, 0
  for i = 1, object.members do
    if object.names[i] == "region" then
      regions = regions + 1
      parts[#parts + 1] = sub(text, pos, object.key_at[i])
      parts[#parts + 1] = region_name(regions)
      pos = object.key_to[i] - 1
    end
  end
  parts[#parts + 1] = sub(text, pos)
  return concat(parts)
end

local function timestamp(text, now)
  local i = object.index.time
  return i and sub(text, object.value_at[i], object.value_to[i] - 1) or '"' .. now .. '"'
end

local function render_object(stream, text, now)
  local index = object.index
  local keeps_region = stream.own and index.region
  local rest = index.region and not keeps_region and without_region(text)
    or sub(text, object.open + 1)
  local added = (keeps_region and "" or '"region":"' .. stream.name .. '",')
    .. (index.timestamp and "" or '"timestamp":' .. timestamp(text, now) .. ",")
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

local function render_text(stream, text)
  return stream.prefix .. text .. "\n"
end

---------------------------------------------------------------------------------------
-- Shapes: a plugin logs the same few sets of keys again and again with other values. For
-- such lines one comparison and one pattern do the work of the scanner and the renderer,
-- several times as fast. A shape has two parts:
--   lead     the first members as they stand, because loggers put their constants there;
--            each line that differs sooner than the one the shape was learnt from moves
--            the end of the lead back to the member it differs in
--   pattern  for the rest: the text between the values taken literally; only strings of
--            plain printable ASCII match, so what matches is known to be valid
---------------------------------------------------------------------------------------

local MAX_SHAPES = 8
local MAX_LEARN_EVERY = 256
local MAX_LEARN_BYTES = 4096

local function literal(text)
  return (gsub(text, "%W", "%%%0"))
end

-- Each notation has a pattern of its own, as Lua's patterns know no alternatives.
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

-- Whether all keys differ (then the index has them all) and the time is a scalar.
local function is_regular()
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

-- Only the common is worth a shape.
local function is_typical(text)
  return object.open == 1 and object.leaves <= MAX_LEAVES and #text <= MAX_LEARN_BYTES
    and object.index.time and not object.index.timestamp
    and not find(text, "\\", 1, true) and find(text, "^[ -~]*$")
    and is_regular()
end

-- The pattern for the text from pos to its end. Its captures are, in the order in which
-- they open: the rest of the line (in two parts, before and behind the name of a region
-- key to rename at `region`), the value of the time, and where the next line begins.
local function pattern_for(text, pos, region)
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

-- The splices: what to make of the captures of a shape's pattern. Each returns the line
-- to write and where the next line begins.
local function splice_whole(shape, rest, stamp, next_pos)
  return shape.open .. stamp .. shape.lead_out .. rest, next_pos
end

local function splice_time_first(shape, head, stamp, tail, next_pos)
  return shape.open .. stamp .. shape.lead_out .. head .. shape.renamed .. tail, next_pos
end

local function splice_region_first(shape, head, tail, stamp, next_pos)
  return shape.open .. stamp .. shape.lead_out .. head .. shape.renamed .. tail, next_pos
end

local function splice_for(region)
  if not region then
    return splice_whole
  end
  return object.index.time < region and splice_time_first or splice_region_first
end

-- How many bytes of the text the lead may have: whole members before the time, and no
-- byte from `limit` on.
local function lead_length(limit)
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

local function new_shape(stream, text, skeleton, limit)
  local index, length = object.index, lead_length(limit)
  local keeps_region = stream.own and index.region
  local region, lead_out = not stream.own and index.region, sub(text, 2, length)
  if region and object.key_at[region] <= length then
    lead_out = sub(text, 2, object.key_at[region]) .. region_name(1)
      .. sub(text, object.key_to[region] - 1, length)
    region = nil -- done: none is left in the rest
  end
  return {
    skeleton = skeleton,
    lead = sub(text, 1, length),
    lead_length = length,
    pattern = pattern_for(text, length + 1, region),
    splice = splice_for(region),
    open = (keeps_region and "{" or '{"region":"' .. stream.name .. '",') .. '"timestamp":',
    lead_out = (index.level and "," or ',"level":"info",') .. lead_out,
    renamed = region and region_name(1),
  }
end

-- Where in the list a shape for the line goes, and the first byte that its lead must not
-- have. A stream whose lines have nothing in common must not pay for learning each of them:
-- the more shapes were pushed out, the rarer another is learnt.
local function place_for(stream, text, skeleton)
  local shapes = stream.shapes
  for i, shape in ipairs(shapes) do
    if shape.skeleton == skeleton then
      return i, first_difference(shape.lead, text)
    end
  end
  if #shapes < MAX_SHAPES then
    return #shapes + 1, #text
  end
  stream.learn_every = math.min(stream.learn_every * 2, MAX_LEARN_EVERY)
  return MAX_SHAPES, #text
end

local function learn_shape(stream, text)
  stream.unlearnt = stream.unlearnt + 1
  if stream.unlearnt < stream.learn_every then
    return
  end
  stream.unlearnt = 0
  if is_typical(text) then
    local skeleton = pattern_for(text, 1)
    local place, limit = place_for(stream, text, skeleton)
    stream.shapes[place] = new_shape(stream, text, skeleton, limit)
  end
end

-- Returns the line to write for the one that begins at pos and where the next begins, or
-- nil if none of the shapes fits.
local function splice_known(shapes, chunk, pos)
  for i = 1, #shapes do
    local shape = shapes[i]
    local length = shape.lead_length
    if sub(chunk, pos, pos + length - 1) == shape.lead then
      local a, b, c, d = match(chunk, shape.pattern, pos + length)
      if a then
        if i > 1 then
          shapes[i], shapes[1] = shapes[1], shape
        end
        return shape.splice(shape, a, b, c, d)
      end
    end
  end
  return nil
end

local function render(stream, text, now)
  local is_json, is_object = scan(text)
  if is_object then
    learn_shape(stream, text)
    return render_object(stream, text, now)
  elseif is_json then
    return render_value(stream, text, now)
  end
  return render_text(stream, text)
end

---------------------------------------------------------------------------------------
-- Output: lines are gathered until they are worth a write
---------------------------------------------------------------------------------------

local pending, pending_count, pending_bytes = {}, 0, 0

local function emit(line)
  pending_count = pending_count + 1
  pending[pending_count] = line
  pending_bytes = pending_bytes + #line
end

local function take_pending()
  local data = concat(pending, "", 1, pending_count)
  if pending_bytes > 4 * FLUSH_BYTES then
    pending = {} -- else the table would keep the longest lines alive
  end
  pending_count, pending_bytes = 0, 0
  return data
end

---------------------------------------------------------------------------------------
-- Streams: from chunks to lines. All of this depends on the chunks and their times only,
-- so that a replay of the journal makes the same bytes again.
---------------------------------------------------------------------------------------

local function new_stream(own, name, path, counter)
  return {
    own = own, name = name, path = path, counter = counter, prefix = "[" .. name .. "] ",
    held = {}, held_bytes = 0,
    continued = false, -- pieces of the held line are written already
    shapes = {}, unlearnt = 0, learn_every = 1,
  }
end

local function release(stream)
  local text = concat(stream.held)
  stream.held, stream.held_bytes = {}, 0
  return text
end

local function hold(stream, text)
  if text ~= "" then
    stream.held[#stream.held + 1] = text
    stream.held_bytes = stream.held_bytes + #text
  end
end

-- Emits pieces of an overlong line while more than `reserve` bytes would stay behind them.
local function emit_pieces(stream, text, reserve)
  local pos = 1
  while #text - pos + 1 > LINE_LIMIT + reserve do
    emit(render_text(stream, sub(text, pos, pos + LINE_LIMIT - 1)))
    stream.continued = true
    pos = pos + LINE_LIMIT
  end
  return pos == 1 and text or sub(text, pos)
end

local function end_line(stream, line, mark, now)
  local counter = stream.counter
  if sub(line, -#mark) == mark then
    line = sub(line, 1, -#mark - 1)
    counter.bytes = counter.bytes - #mark - 1
    if line == "" then
      return
    end
  end
  counter.lines = counter.lines + 1
  if byte(line, -1) == CARRIAGE_RETURN then
    line = sub(line, 1, -2)
  end
  line = emit_pieces(stream, line, 0)
  if stream.continued then
    stream.continued = false
    emit(render_text(stream, line))
  else
    emit(render(stream, line, now))
  end
end

-- What is held back may end in a carriage return or a mark that is not text.
local function emit_overlong(stream, mark)
  local reserve = #mark + 1
  if stream.held_bytes > LINE_LIMIT + reserve then
    hold(stream, emit_pieces(stream, release(stream), reserve))
  end
end

-- Emits the lines of the chunk from pos on that are complete; returns where the rest begins.
local function emit_lines(stream, chunk, pos, mark, now)
  local shapes, spliced = stream.shapes, 0
  while true do
    local line, next_pos = splice_known(shapes, chunk, pos)
    if line then
      spliced = spliced + 1
      emit(line)
    else
      local line_feed = find(chunk, "\n", pos, true)
      if not line_feed then
        break
      end
      end_line(stream, sub(chunk, pos, line_feed - 1), mark, now)
      next_pos = line_feed + 1
    end
    pos = next_pos
  end
  stream.counter.lines = stream.counter.lines + spliced
  return pos
end

local function feed(stream, chunk, mark, now)
  local counter = stream.counter
  counter.bytes = counter.bytes + #chunk
  local pos = 1
  if stream.held_bytes > 0 then
    local line_feed = find(chunk, "\n", 1, true)
    if not line_feed then
      hold(stream, chunk)
      emit_overlong(stream, mark)
      return
    end
    hold(stream, sub(chunk, 1, line_feed - 1))
    end_line(stream, release(stream), mark, now)
    pos = line_feed + 1
  end
  hold(stream, sub(chunk, emit_lines(stream, chunk, pos, mark, now)))
end

local function end_stream(stream, mark, now)
  if stream.held_bytes > 0 then
    end_line(stream, release(stream), mark, now)
  end
end

---------------------------------------------------------------------------------------
-- Files
---------------------------------------------------------------------------------------

local function read_file(path)
  local file = io.open(path, "rb")
  if not file then
    return nil
  end
  local data = file:read "a"
  file:close()
  return data
end

-- Regular files take a write whole unless the file system is full.
local function write_all(fd, data)
  return write(fd, data) == #data
end

---------------------------------------------------------------------------------------
-- Counters
---------------------------------------------------------------------------------------

local Stats = {}
Stats.__index = Stats

function Stats.new(dir)
  return setmetatable({ path = dir .. "/logmux.stats", names = {}, counters = {}, due = nil }, Stats)
end

function Stats:counter(name)
  local counter = self.counters[name]
  if not counter then
    counter = { lines = 0, bytes = 0 }
    self.names[#self.names + 1] = name
    self.counters[name] = counter
  end
  return counter
end

function Stats:load()
  for name, lines, bytes in string.gmatch(read_file(self.path) or "", "(%S+) (%d+) (%d+)\n") do
    local counter = self.counters[name]
    if counter then
      counter.lines, counter.bytes = math.tointeger(lines), math.tointeger(bytes)
    end
  end
end

-- The counters tell how things go; a full disk must not stop the log for them.
function Stats:save()
  local lines = {}
  for i, name in ipairs(self.names) do
    local counter = self.counters[name]
    lines[i] = format("%s %d %d\n", name, counter.lines, counter.bytes)
  end
  local new_path = self.path .. ".new"
  local file = io.open(new_path, "wb")
  local written = file and file:write(concat(lines))
  if file and file:close() and written then
    os.rename(new_path, self.path)
  end
  self.due = nil
end

function Stats:touch()
  self.due = self.due or milliseconds(time.CLOCK_MONOTONIC) + STATS_INTERVAL_MS
end

-- Saves if it is time to; returns for how long poll may sleep.
function Stats:tick()
  if not self.due then
    return -1
  end
  local left = self.due - milliseconds(time.CLOCK_MONOTONIC)
  if left > 0 then
    return left
  end
  self:save()
  return -1
end

---------------------------------------------------------------------------------------
-- Journal: records "KIND A B LENGTH\n" with LENGTH bytes of payload. It begins with the
-- state when it was made and goes on with what happened since:
--   count LINES BYTES        payload: the NAME they were counted for
--   stream INDEX CONTINUED   payload: NAME=PATH, what later records mean by INDEX
--   held INDEX 0             payload: the unfinished line of the stream
--   pending WRITTEN 0        payload: output not yet written; WRITTEN bytes were
--   read INDEX MS            payload: what was read from the stream at MS; none: its end
--   wrote WRITTEN 0          so much of the output is written
-- WRITTEN counts from the very first start. A new journal replaces the old by a rename,
-- so at any moment there is a complete one.
---------------------------------------------------------------------------------------

local Journal = {}
Journal.__index = Journal

function Journal.new(dir, streams, stats)
  return setmetatable({
    path = dir .. "/logmux.journal", streams = streams, stats = stats,
    fd = nil, size = 0, limit = 0, written = 0,
  }, Journal)
end

local function record(kind, a, b, payload)
  return format("%s %d %d %d\n", kind, a, b, #payload) .. payload
end

function Journal:snapshot()
  local records = {}
  for _, name in ipairs(self.stats.names) do
    local counter = self.stats.counters[name]
    records[#records + 1] = record("count", counter.lines, counter.bytes, name)
  end
  for i, stream in ipairs(self.streams) do
    records[#records + 1] = record("stream", i, stream.continued and 1 or 0, stream.spec)
    if stream.held_bytes > 0 then
      records[#records + 1] = record("held", i, 0, concat(stream.held))
    end
  end
  records[#records + 1] = record("pending", self.written, 0, concat(pending, "", 1, pending_count))
  return concat(records)
end

-- Without room the log goes on without a safety net, and has one again when there is room. A journal that ends too early would
-- make a restart write lines twice, so it goes.
function Journal:give_up()
  if self.fd then
    unistd.close(self.fd)
    self.fd = nil
  end
  os.remove(self.path)
end

-- Returns whether there is a journal now, and if not, whether that is because the disk is full.
function Journal:renew()
  local new_path = self.path .. ".new"
  local fd, _, code = fcntl.open(new_path, fcntl.O_WRONLY | fcntl.O_CREAT | fcntl.O_TRUNC, 384)
  local data = self:snapshot()
  if not fd or not write_all(fd, data) or not os.rename(new_path, self.path) then
    if fd then
      unistd.close(fd)
    end
    self:give_up()
    return false, fd ~= nil or code == errno.ENOSPC
  end
  if self.fd then
    unistd.close(self.fd)
  end
  self.fd, self.size = fd, #data
  -- A long unfinished line is written again with each renewal: the longer, the rarer.
  self.limit = JOURNAL_BYTES + 2 * #data
  return true
end

function Journal:renew_if_long()
  if not self.fd or self.size > self.limit then
    self:renew()
  end
end

function Journal:append(head, payload)
  if not self.fd then
    return
  end
  -- Two writes: joining them first would take longer than the second call.
  if not write_all(self.fd, head) or (payload ~= "" and not write_all(self.fd, payload)) then
    self:give_up()
  end
  self.size = self.size + #head + #payload
end

function Journal:add_read(index, ms, chunk)
  self:append(format("read %d %d %d\n", index, ms, #chunk), chunk)
end

function Journal:add_written(bytes)
  self.written = self.written + bytes
  self:append(format("wrote %d 0 0\n", self.written), "")
end

local function each_record(data)
  local pos = 1
  return function()
    local kind, a, b, length, at = match(data, "^(%l+) (%d+) (%d+) (%d+)\n()", pos)
    if not kind or at + length - 1 > #data then
      return nil -- a record cut short by a kill is as good as none
    end
    pos = math.tointeger(at + length)
    return kind, math.tointeger(a), math.tointeger(b), sub(data, at, pos - 1)
  end
end

-- Replays the journal of a run that was killed: brings the streams to where they were and
-- leaves as pending what was not yet written. A stream that is no longer among the
-- arguments is played to its end.
function Journal:replay(mark)
  local data = read_file(self.path)
  if not data then
    return
  end
  local streams, known, now = {}, {}, rfc3339(0)
  for _, stream in ipairs(self.streams) do
    known[stream.spec] = stream
  end
  local made, written = 0, 0
  for kind, a, b, payload in each_record(data) do
    if kind == "count" then
      local counter = self.stats:counter(payload)
      counter.lines, counter.bytes = a, b
    elseif kind == "stream" then
      local own, name, path = match(payload, "^(.)([^=]+)=(.*)$")
      streams[a] = known[payload] or new_stream(own == "+", name, path, self.stats:counter(name))
      streams[a].continued = b == 1
    elseif kind == "held" then
      hold(streams[a], payload)
    elseif kind == "pending" then
      made, written = a, a
      emit(payload)
    elseif kind == "read" then
      now = rfc3339(b)
      if payload == "" then
        end_stream(streams[a], mark, now)
      else
        feed(streams[a], payload, mark, now)
      end
    elseif kind == "wrote" then
      written = a
    end
  end
  for _, stream in ipairs(streams) do
    if not known[stream.spec] then
      end_stream(stream, mark, now)
    end
  end
  self.written = written
  emit(sub(take_pending(), written - made + 1))
end

function Journal:remove()
  self:give_up()
end

---------------------------------------------------------------------------------------
-- Stdout
---------------------------------------------------------------------------------------

local Stdout = {}
Stdout.__index = Stdout

function Stdout.open(journal, stats)
  local self = setmetatable({ journal = journal, stats = stats }, Stdout)
  self.flags = fcntl.fcntl(STDOUT, fcntl.F_GETFL)
  self.poll_set = { [STDOUT] = { events = { OUT = true } } }
  if self.flags then
    -- Non-blocking, so that a write takes no longer than it takes to copy the bytes, and
    -- a kill while a reader is slow meets the program in poll. No effect on files.
    fcntl.fcntl(STDOUT, fcntl.F_SETFL, self.flags | fcntl.O_NONBLOCK)
  end
  return self
end

function Stdout:close()
  if self.flags then
    fcntl.fcntl(STDOUT, fcntl.F_SETFL, self.flags)
  end
end

function Stdout:wait()
  poll(self.poll_set, self.stats:tick())
end

-- Returns false if nobody reads stdout any more.
function Stdout:flush()
  if pending_bytes == 0 then
    return true
  end
  local data = take_pending()
  local pos = 1
  while pos <= #data do
    local count, _, code = write(STDOUT, sub(data, pos, pos + FLUSH_BYTES - 1))
    if count then
      self.journal:add_written(count)
      pos = pos + count
    elseif code == errno.EAGAIN then
      self:wait()
    elseif code ~= errno.EINTR then
      return false
    end
  end
  return true
end

---------------------------------------------------------------------------------------
-- Program
---------------------------------------------------------------------------------------

local function complaint(message)
  return concat {
    '{"region":"-","timestamp":"', rfc3339(milliseconds(time.CLOCK_REALTIME)),
    '","level":"error","message":', json_string("logmux: " .. message), "}\n",
  }
end

local function stop(status, message)
  io.stdout:write(complaint(message))
  io.stdout:flush()
  os.exit(status)
end

local function parse_stream(text, own)
  local name, path = match(text or "", "^([%w._-]+)=(.+)$")
  if not name then
    return nil, "not a NAME=PATH: " .. (text or "nothing")
  end
  return { own = own, name = name, path = path }
end

local function parse(args)
  local options, specs, i = {}, {}, 1
  while i <= #args do
    local word, spec, problem = args[i], nil, nil
    if word == "--mark" or word == "--state" then
      i = i + 1
      options[word] = args[i]
    elseif word == "--own" then
      i = i + 1
      spec, problem = parse_stream(args[i], true)
    elseif sub(word, 1, 1) == "-" and not find(word, "=", 1, true) then
      problem = "unknown option " .. word
    else
      spec, problem = parse_stream(word, false)
    end
    if problem then
      return nil, problem
    end
    specs[#specs + 1] = spec
    i = i + 1
  end
  if not options["--mark"] or not find(options["--mark"], "^[^\n]+$") then
    return nil, "--mark TOKEN is missing"
  elseif not options["--state"] then
    return nil, "--state DIR is missing"
  elseif #specs == 0 then
    return nil, "no stream given"
  end
  return { mark = "\x1e" .. options["--mark"], dir = options["--state"], specs = specs }
end

local function open_streams(specs, stats)
  local streams, seen = {}, {}
  for i, spec in ipairs(specs) do
    local stream = new_stream(spec.own, spec.name, spec.path, stats:counter(spec.name))
    if seen[spec.path] then
      return nil, "two streams have the path " .. spec.path
    end
    seen[spec.path] = true
    local problem
    stream.fd, problem = fcntl.open(spec.path, fcntl.O_RDONLY | fcntl.O_NONBLOCK)
    if not stream.fd then
      return nil, "cannot open " .. (problem or spec.path)
    end
    stream.spec = (spec.own and "+" or "-") .. spec.name .. "=" .. spec.path
    streams[i] = stream
  end
  return streams
end

local function ignore_signals()
  for _, name in ipairs { "SIGTERM", "SIGINT", "SIGHUP", "SIGPIPE" } do
    signal.signal(signal[name], signal.SIG_IGN)
  end
end

local function is_ready(entry)
  local events = entry.revents
  return events and (events.IN or events.HUP or events.ERR or events.NVAL)
end

local Mux = {}
Mux.__index = Mux

function Mux:close_stream(index, stream, now)
  self.journal:add_read(index, self.ms, "")
  end_stream(stream, self.mark, now)
  unistd.close(stream.fd)
  self.poll_set[stream.fd] = nil
  stream.fd = nil
  self.open = self.open - 1
end

function Mux:read_stream(index, stream, now)
  local chunk, problem, code = read(stream.fd, READ_BYTES)
  if chunk and chunk ~= "" then
    self.journal:add_read(index, self.ms, chunk)
    self.stats:touch()
    feed(stream, chunk, self.mark, now)
  elseif chunk then
    self:close_stream(index, stream, now)
  elseif code ~= errno.EAGAIN and code ~= errno.EINTR then
    self:close_stream(index, stream, now)
    emit(complaint("cannot read " .. stream.path .. ": " .. problem))
  end
end

-- One read per ready stream, so that a loud plugin does not keep the others waiting.
function Mux:round(every_stream)
  self.ms = milliseconds(time.CLOCK_REALTIME)
  local now = rfc3339(self.ms)
  for index, stream in ipairs(self.streams) do
    if stream.fd and (every_stream or is_ready(self.poll_set[stream.fd])) then
      self:read_stream(index, stream, now)
      if pending_bytes >= FLUSH_BYTES and not self.stdout:flush() then
        return false
      end
    end
  end
  return self.stdout:flush()
end

-- The first round asks every stream: poll says nothing of a FIFO that nobody has open.
function Mux:run()
  if not self.stdout:flush() or not self:round(true) then
    return false
  end
  while self.open > 0 do
    self.journal:renew_if_long()
    poll(self.poll_set, self.stats:tick())
    if not self:round(false) then
      return false
    end
  end
  return true
end

local function new_mux(config)
  local stats = Stats.new(config.dir)
  local streams, problem = open_streams(config.specs, stats)
  if not streams then
    stop(EXIT_USAGE, problem)
  end
  local journal = Journal.new(config.dir, streams, stats)
  stats:load()
  journal:replay(config.mark)
  local renewed, full = journal:renew()
  if not renewed and not full then
    stop(EXIT_USAGE, "cannot write to " .. config.dir)
  elseif not renewed then
    emit(complaint("no room in " .. config.dir .. ": lines are lost if this program is killed"))
  end
  local poll_set = {}
  for _, stream in ipairs(streams) do
    poll_set[stream.fd] = { events = { IN = true } }
  end
  return setmetatable({
    mark = config.mark, streams = streams, stats = stats, journal = journal,
    stdout = Stdout.open(journal, stats), poll_set = poll_set, open = #streams, ms = 0,
  }, Mux)
end

local function main()
  local config, problem = parse(arg)
  if not config then
    stop(EXIT_USAGE, problem)
  end
  ignore_signals()
  local mux = new_mux(config)
  local done = mux:run()
  mux.stats:save()
  mux.stdout:close()
  if not done then
    os.exit(EXIT_STDOUT_GONE)
  end
  mux.journal:remove()
end

local ok, problem = xpcall(main, debug.traceback)
if not ok then
  stop(EXIT_BUG, tostring(problem))
end
