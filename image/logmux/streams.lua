-- Streams split chunks into lines for output.lua. The output depends only on the chunks and
-- their times, so that a replay of the journal produces the same bytes.
--
--   open(specs, stats)              opens the streams of a list of { own, name, path } for
--                                   reading at their `fd`; or nil and the reason
--   new(own, name, path, counter)   a stream without a file, for a replay
--   feed(stream, chunk, mark, now)  emits the lines that the chunk completes, holds the rest
--   finish(stream, mark, now)       ends the stream: emits the held line
--   hold(stream, text)              adds to the held line
--
-- `mark` is the mark without its newline, `now` the formatted time of the chunk.

local fcntl = require "posix.fcntl"
local json = require "logmux.json"
local output = require "logmux.output"
local render = require "logmux.render"
local Shapes = require "logmux.shapes"

local byte, find, sub, concat = string.byte, string.find, string.sub, table.concat
local scan, emit = json.scan, output.emit
local render_object, render_value, render_text = render.object, render.value, render.text
local learn, splice = Shapes.learn, Shapes.splice

local LINE_LIMIT = 4 * 1024 * 1024
local CARRIAGE_RETURN = byte "\r"

local function new(own, name, path, counter)
  return {
    own = own, name = name, path = path, counter = counter, prefix = "[" .. name .. "] ",
    held = {}, held_bytes = 0,
    continued = false, -- pieces of the held line are written already
    shapes = Shapes.new(own, name),
  }
end

local function open(specs, stats)
  local streams, seen = {}, {}
  for i, spec in ipairs(specs) do
    local stream = new(spec.own, spec.name, spec.path, stats:counter(spec.name))
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

local function record_of(stream, text, now)
  local is_json, object = scan(text)
  if object then
    learn(stream.shapes, text, object)
    return render_object(stream, text, object, now)
  elseif is_json then
    return render_value(stream, text, now)
  end
  return render_text(stream, text, now)
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

-- Emits pieces of an overlong line while more than `reserve` bytes remain.
local function emit_pieces(stream, text, reserve, now)
  local pos = 1
  while #text - pos + 1 > LINE_LIMIT + reserve do
    emit(render_text(stream, sub(text, pos, pos + LINE_LIMIT - 1), now))
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
  line = emit_pieces(stream, line, 0, now)
  if stream.continued then
    stream.continued = false
    emit(render_text(stream, line, now))
  else
    emit(record_of(stream, line, now))
  end
end

-- The reserve may be a carriage return or a mark, which are not part of the line.
local function emit_overlong(stream, mark, now)
  local reserve = #mark + 1
  if stream.held_bytes > LINE_LIMIT + reserve then
    hold(stream, emit_pieces(stream, release(stream), reserve, now))
  end
end

-- Emits the complete lines of the chunk from pos on; returns the position of the rest.
local function emit_lines(stream, chunk, pos, mark, now)
  local known, spliced = stream.shapes.known, 0
  while true do
    local line, next_pos = splice(known, chunk, pos)
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
      emit_overlong(stream, mark, now)
      return
    end
    hold(stream, sub(chunk, 1, line_feed - 1))
    end_line(stream, release(stream), mark, now)
    pos = line_feed + 1
  end
  hold(stream, sub(chunk, emit_lines(stream, chunk, pos, mark, now)))
end

local function finish(stream, mark, now)
  if stream.held_bytes > 0 then
    end_line(stream, release(stream), mark, now)
  end
end

return { new = new, open = open, feed = feed, hold = hold, finish = finish }
