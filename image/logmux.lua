-- logmux: the only writer of the container's stdout.
--
-- Reads the output of every plugin from FIFOs, adds the region to each line, and writes the
-- lines to stdout one after the other.
--
--   lua5.3 logmux.lua --mark TOKEN --state DIR [--ignore PATTERN]... [--own NAME=PATH]... [NAME=PATH]...
--
--   NAME=PATH        a stream and the region of its lines; a NAME may occur more than
--                    once (stdout and stderr of one plugin)
--   --own NAME=PATH  a stream of the container's own processes: a JSON object that has a
--                    "region" keeps it, and text becomes the "message" of an object
--   --ignore PATTERN text on such a stream that matches this Lua pattern is dropped
--   --mark TOKEN     "\x1e" TOKEN "\n" in a stream means that a new process writes from
--                    here on. Text before it on its line is a line that the previous
--                    process did not finish; the mark itself is never written.
--   --state DIR      directory of the journal and the counters, usually on a tmpfs
--
-- The output for a line (the CR of a CR LF is dropped):
--   a JSON object     the same bytes, except that "region":"NAME" and, where absent,
--                     "timestamp" (the text of its "time", else the current time) and
--                     "level":"info" are inserted after the first brace; an existing
--                     "region" is renamed "plugin_region" (or "plugin_region_2", ...)
--   other valid JSON  becomes the "message" of such an object
--   anything else     "[NAME] line"; on a stream of the container's own processes it
--                     becomes the "message" of an object. Its "level" comes from
--                     HAProxy's [ALERT], [WARNING] and [NOTICE], or from a prefix <0>
--                     to <6>, which is dropped.
-- Valid means RFC 8259 in strict UTF-8. The depth of nesting is not limited.
--
-- Guarantees:
--   * A line of up to 4 MiB is written whole. A longer one is split into several lines,
--     "[NAME] piece", each of 4 MiB except the last.
--   * Nothing is dropped. While stdout blocks, nothing is read, so the plugins' writes
--     block; memory is bounded by one read per stream and its unfinished line.
--   * If this program is killed by SIGKILL and restarted with the same arguments, no line
--     is lost, torn or duplicated, because the journal holds every byte that was read and
--     not yet written. Two gaps of a few microseconds remain, which no system call can
--     close: between a read and its journal entry, and between a write and its entry.
--   * The program exits when every stream has ended; it ignores SIGTERM, SIGINT, SIGHUP
--     and SIGPIPE. A FIFO that no process holds open for writing has ended, so the
--     supervisor opens each one before it starts this program.
--
-- Files in DIR:
--   logmux.journal   a snapshot of the state, then everything read and written since;
--                    replaced about every MiB, removed on a clean exit
--   logmux.reserve   space for the journal on a full disk
--   logmux.stats     "NAME lines bytes", one line per NAME, counted on the input without
--                    the marks; replaced at most once a second, and on exit
--
-- Exit status: 0 all streams ended, 1 stdout is closed (the journal keeps the rest),
-- 64 invalid arguments, 70 internal error.

-- Modules are loaded from this file's directory, whatever the working directory is.
package.path = (string.match(arg[0], "^.*/") or "./") .. "?.lua;" .. package.path

local errno = require "posix.errno"
local signal = require "posix.signal"
local poll = require("posix.poll").poll
local unistd = require "posix.unistd"
local Journal = require "logmux.journal"
local Stats = require "logmux.stats"
local Streams = require "logmux.streams"
local clock = require "logmux.clock"
local json = require "logmux.json"
local output = require "logmux.output"
local render = require "logmux.render"

local find, match, sub, concat = string.find, string.match, string.sub, table.concat
local emit, is_worth_a_write = output.emit, output.is_worth_a_write
local read, feed, finish = unistd.read, Streams.feed, Streams.finish

-- Garbage collection starts at package.loaded. If the modules stay in it, the lines gathered in
-- output.lua are marked early, survive their write by one cycle, and cost 3 to 5 % of the speed.
for name in pairs(package.loaded) do
  if find(name, "^logmux%.") then
    package.loaded[name] = nil
  end
end

local READ_BYTES = 64 * 1024
local EXIT_STDOUT_GONE, EXIT_USAGE, EXIT_BUG = 1, 64, 70

local function complaint(message)
  return concat {
    '{"region":"-","timestamp":"', clock.rfc3339(clock.now()),
    '","level":"error","message":', json.quote("logmux: " .. message), "}\n",
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
    return nil, "invalid NAME=PATH: " .. (text or "none")
  end
  return { own = own, name = name, path = path }
end

local function parse(args)
  local options, specs, ignored, i = {}, {}, {}, 1
  while i <= #args do
    local word, spec, problem = args[i], nil, nil
    if word == "--mark" or word == "--state" then
      i = i + 1
      options[word] = args[i]
    elseif word == "--ignore" then
      i = i + 1
      ignored[#ignored + 1] = args[i]
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
  return { mark = "\x1e" .. options["--mark"], dir = options["--state"], specs = specs, ignored = ignored }
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
  finish(stream, self.mark, now)
  unistd.close(stream.fd)
  self.poll_set[stream.fd] = nil
  stream.fd = nil
  self.open = self.open - 1
  self:settle(stream)
end

-- poll does not report a FIFO that had no writer when it was opened, so it is read until it is found empty once.
function Mux:settle(stream)
  if not stream.settled then
    stream.settled = true
    self.unsettled = self.unsettled - 1
  end
end

function Mux:read_stream(index, stream, now)
  local chunk, problem, code = read(stream.fd, READ_BYTES)
  if chunk and chunk ~= "" then
    self.journal:add_read(index, self.ms, chunk)
    self.stats:touch()
    feed(stream, chunk, self.mark, now)
  elseif chunk then
    self:close_stream(index, stream, now)
  elseif code == errno.EAGAIN then
    self:settle(stream)
  elseif code ~= errno.EINTR then
    self:close_stream(index, stream, now)
    emit(complaint("cannot read " .. stream.path .. ": " .. problem))
  end
end

-- One read per ready stream, so that a plugin that logs a lot does not delay the others.
function Mux:round()
  self.ms = clock.now()
  local now = clock.rfc3339(self.ms)
  for index, stream in ipairs(self.streams) do
    if stream.fd and (not stream.settled or is_ready(self.poll_set[stream.fd])) then
      self:read_stream(index, stream, now)
      if is_worth_a_write() and not self.stdout:flush() then
        return false
      end
    end
  end
  return self.stdout:flush()
end

function Mux:run()
  local writable = self.stdout:flush()
  while writable and self.open > 0 do
    self.journal:renew_if_long()
    local pause = self.stats:tick()
    poll(self.poll_set, self.unsettled > 0 and 0 or pause)
    writable = self:round()
  end
  return writable
end

local function new_mux(config)
  local stats = Stats.new(config.dir)
  local streams, problem = Streams.open(config.specs, stats)
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
    emit(complaint("no space in " .. config.dir .. ": lines are lost if this program is killed"))
  end
  local poll_set = {}
  for _, stream in ipairs(streams) do
    poll_set[stream.fd] = { events = { IN = true } }
  end
  return setmetatable({
    mark = config.mark, streams = streams, stats = stats, journal = journal,
    stdout = output.open(journal, stats), poll_set = poll_set, open = #streams, unsettled = #streams, ms = 0,
  }, Mux)
end

local function main()
  local config, problem = parse(arg)
  if not config then
    stop(EXIT_USAGE, problem)
  end
  ignore_signals()
  render.ignore(config.ignored)
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
