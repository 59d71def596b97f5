"""Tests of image/logmux.lua, the one writer of the container's stdout."""

from __future__ import annotations

import fcntl
import functools
import json
import os
import random
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator
from json import JSONDecoder
from pathlib import Path
from typing import Any, NoReturn

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "image" / "logmux.lua"
LUA = shutil.which("lua5.3") or shutil.which("lua")
TOKEN = "b7c1f0"
MARK = b"\x1e" + TOKEN.encode() + b"\n"
REGION = "us-east-1"
REGIONS = [
    *("us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "sa-east-1"),
    *("eu-west-1", "eu-central-1", "ap-southeast-1", "ap-southeast-2", "ap-northeast-1"),
    "ap-south-1",
]
MIB = 1024 * 1024
LINE_LIMIT = 4 * MIB
READ_BYTES = 64 * 1024
DEADLINE_S = 30.0
RSS_LIMIT_KB = 48 * 1024
RSS_LIMIT_OVERLONG_KB = 96 * 1024

NOW = "@now@"
NOW_PATTERN = rb'"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"'


def _missing() -> str | None:
    if LUA is None:
        return "no Lua interpreter on PATH"
    probe = 'assert(_VERSION == "Lua 5.3") require "posix.poll" require "posix.fcntl"'
    if subprocess.run([LUA, "-e", probe], capture_output=True, check=False).returncode:
        return "Lua 5.3 with luaposix is not installed"
    return None


pytestmark = pytest.mark.skipif(_missing() is not None, reason=_missing() or "")


# --- The reference: what becomes of a line, on Python's own JSON parser -----------------


def _reject(constant: str) -> NoReturn:
    raise ValueError(constant)


def _load(line: bytes) -> tuple[str, Any] | None:
    """Returns the text and the value of strict JSON, or None."""
    try:
        text = line.decode()
        return text, json.loads(text, parse_constant=_reject, parse_int=str, parse_float=str)
    except ValueError:
        return None


def _skip_space(text: str, pos: int) -> int:
    while text[pos] in " \t\r\n":
        pos += 1
    return pos


def _members(text: str, pos: int) -> Iterator[tuple[str, int, int, str]]:
    """Yields name, start and end of the key, and the value's text, for each member."""
    decoder = JSONDecoder()
    pos = _skip_space(text, pos)
    while text[pos] != "}":
        name, key_end = decoder.raw_decode(text, pos)
        value_at = _skip_space(text, _skip_space(text, key_end) + 1)
        value_end = decoder.raw_decode(text, value_at)[1]
        yield name, pos, key_end, text[value_at:value_end]
        pos = _skip_space(text, value_end)
        if text[pos] == ",":
            pos = _skip_space(text, pos + 1)


def _splice(text: str, name: str, own: bool, now: str) -> str:
    opening = text.index("{") + 1
    members = list(_members(text, opening))
    taken = {member[0] for member in members}
    times = [value for key, _, _, value in members if key == "time"]
    keeps_region = own and "region" in taken
    added = [] if keeps_region else [f'"region":"{name}"']
    if "timestamp" not in taken:
        added.append(f'"timestamp":{times[-1] if times else now}')
    if "level" not in taken:
        added.append('"level":"info"')
    names = ["plugin_region", *(f"plugin_region_{n}" for n in range(2, 99))]
    free = iter([candidate for candidate in names if candidate not in taken])
    body, pos = "", opening
    for key, key_at, key_end, _ in members:
        if key == "region" and not keeps_region:
            body += f'{text[pos:key_at]}"{next(free)}"'
            pos = key_end
    comma = "," if members and added else ""
    return text[:opening] + ",".join(added) + comma + body + text[pos:]


def expected_line(line: bytes, name: str = REGION, own: bool = False, now: str = NOW) -> bytes:
    """Returns what logmux makes of a line, with `now` where it puts the time."""
    if line.endswith(b"\r"):
        line = line[:-1]
    loaded = _load(line)
    if loaded is None:
        return f"[{name}] ".encode() + line
    text, value = loaded
    if isinstance(value, dict):
        return _splice(text, name, own, now).encode()
    head = f'{{"region":"{name}","timestamp":{now},"level":"info","message":'
    return f"{head}{text}}}".encode()


def matches(actual: bytes, expected: bytes) -> bool:
    """Tells whether a line is the expected one, with any time in place of NOW."""
    parts = [re.escape(part) for part in expected.split(NOW.encode())]
    return re.fullmatch(NOW_PATTERN.join(parts), actual, re.DOTALL) is not None


# --- Running it -------------------------------------------------------------------------


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Returns when the condition holds; fails if it does not in time."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.002)


def command(state: Path, *streams: str) -> list[str]:
    """Returns the command line for the given streams."""
    return [str(LUA), str(SCRIPT), "--mark", TOKEN, "--state", str(state), *streams]


def mux(tmp_path: Path, data: bytes, own: bool = False) -> list[bytes]:
    """Returns the lines that become of the bytes of one stream."""
    source = tmp_path / "stream"
    source.write_bytes(data)
    streams = ["--own", f"-={source}"] if own else [f"{REGION}={source}"]
    done = subprocess.run(
        command(tmp_path, *streams), capture_output=True, check=False, timeout=DEADLINE_S
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert not done.stdout or done.stdout.endswith(b"\n")
    return done.stdout.split(b"\n")[:-1]


def assert_lines(actual: list[bytes], expected: list[bytes]) -> None:
    """Fails with the first line that differs."""
    for got, want in zip(actual, expected, strict=False):
        assert matches(got, want), f"{got[:500]!r} is not {want[:500]!r}"
    assert len(actual) == len(expected)


def queued(fd: int) -> int:
    """Returns how many bytes a pipe holds."""
    return int(struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"\0" * 4))[0])


def process_state(pid: int) -> str:
    """Returns the letter of the process's state."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def is_in_state(pid: int, state: str) -> bool:
    """Tells whether the process is in the state of that letter."""
    return process_state(pid) == state


class Supervisor:
    """Holds the FIFOs and the pipe on stdout, and starts logmux on them."""

    def __init__(self, directory: Path, names: list[str]) -> None:
        """Makes a FIFO for each name and opens it like the supervisor does."""
        self.state = directory
        self.streams = []
        self.fifos = []
        for number, name in enumerate(names):
            path = directory / f"fifo-{number}"
            os.mkfifo(path)
            self.fifos.append(os.open(path, os.O_RDWR | os.O_NONBLOCK))
            self.streams.append(f"{name}={path}")
        self.reader, self.stdout = os.pipe()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        """Starts logmux, for the first time or again."""
        self.process = subprocess.Popen(
            command(self.state, *self.streams), stdout=self.stdout, stderr=subprocess.PIPE
        )
        return self.process

    def write(self, data: bytes, fifo: int = 0) -> None:
        """Writes all the data, as fast as it is read."""
        left = memoryview(data)
        while left:
            select.select([], [self.fifos[fifo]], [], DEADLINE_S)
            left = left[os.write(self.fifos[fifo], left) :]

    def read_lines(self, count: int) -> list[bytes]:
        """Returns the next lines; they must be all there is."""
        data = b""
        while data.count(b"\n") < count:
            assert select.select([self.reader], [], [], DEADLINE_S)[0], f"only got {data!r}"
            data += os.read(self.reader, READ_BYTES)
        assert data.count(b"\n") == count and data.endswith(b"\n")
        return data.split(b"\n")[:-1]

    def kill(self) -> None:
        """Kills logmux with SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.reap()

    def reap(self) -> int:
        """Waits for the end of logmux and returns its exit status."""
        assert self.process is not None
        _, errors = self.process.communicate(timeout=DEADLINE_S)
        assert errors == b""
        return self.process.returncode

    def end(self) -> bytes:
        """Ends every stream; returns what logmux still writes, once it has ended well."""
        wait_until(self._is_open, "logmux to open the FIFOs")
        self.close_fifos()
        rest: list[bytes] = []
        os.set_blocking(self.reader, True)
        drain = threading.Thread(target=lambda: rest.append(self._read_to_end()))
        drain.start()
        status = self.reap()
        os.close(self.stdout)
        self.stdout = -1
        drain.join(DEADLINE_S)
        assert status == 0
        return rest[0]

    def _is_open(self) -> bool:
        """Tells whether logmux has every FIFO open, so that closing them here loses nothing."""
        assert self.process is not None
        try:
            opened = {os.stat(fd).st_ino for fd in Path(f"/proc/{self.process.pid}/fd").iterdir()}
        except FileNotFoundError:
            return False
        needed = self.fifos[: len(self.streams)]
        return opened.issuperset(os.fstat(fifo).st_ino for fifo in needed)

    def close_fifos(self) -> None:
        """Closes the FIFOs, which ends the streams."""
        while self.fifos:
            os.close(self.fifos.pop())

    def _read_to_end(self) -> bytes:
        chunks = []
        while chunk := os.read(self.reader, READ_BYTES):
            chunks.append(chunk)
        return b"".join(chunks)

    def clean_up(self) -> None:
        """Ends everything, however the test went."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
        self.close_fifos()
        for fd in (self.reader, self.stdout):
            if fd >= 0:
                os.close(fd)


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[..., Supervisor]]:
    """Gives a function that makes a supervisor for the given stream names."""
    made: list[Supervisor] = []

    def make(*names: str) -> Supervisor:
        made.append(Supervisor(tmp_path, list(names) or [REGION]))
        return made[-1]

    yield make
    for supervisor in made:
        supervisor.clean_up()


def journal_records(state: Path) -> list[tuple[str, int, int, bytes]]:
    """Returns the records of the journal that are complete."""
    path = state / "logmux.journal"
    data, pos, records = path.read_bytes() if path.exists() else b"", 0, []
    while head := re.compile(rb"([a-z]+) (\d+) (\d+) (\d+)\n").match(data, pos):
        pos = head.end() + int(head[4])
        if pos > len(data):
            break
        payload = data[head.end() : pos]
        records.append((head[1].decode(), int(head[2]), int(head[3]), payload))
    return records


# --- Lines ------------------------------------------------------------------------------

OBJECTS = {
    "zerolog": (
        b'{"level":"warn","region":"unknown","time":"2026-11-24T02:29:30Z","message":"m"}',
        b'{"region":"us-east-1","timestamp":"2026-11-24T02:29:30Z","level":"warn",'
        b'"plugin_region":"unknown","time":"2026-11-24T02:29:30Z","message":"m"}',
    ),
    "no-region": (
        b'{"level":"warn","time":"T"}',
        b'{"region":"us-east-1","timestamp":"T","level":"warn","time":"T"}',
    ),
    "no-level": (
        b'{"time":"T","a":1}',
        b'{"region":"us-east-1","timestamp":"T","level":"info","time":"T","a":1}',
    ),
    "no-time": (
        b'{"level":"warn"}',
        b'{"region":"us-east-1","timestamp":@now@,"level":"warn"}',
    ),
    "timestamp-kept": (
        b'{"timestamp":"A","time":"B","level":"x"}',
        b'{"region":"us-east-1","timestamp":"A","time":"B","level":"x"}',
    ),
    "unix-time": (
        b'{"time":1764000000.250,"level":"x"}',
        b'{"region":"us-east-1","timestamp":1764000000.250,"time":1764000000.250,"level":"x"}',
    ),
    "time-is-object": (
        b'{"time":{"s": [1]} ,"level":"x"}',
        b'{"region":"us-east-1","timestamp":{"s": [1]},"time":{"s": [1]} ,"level":"x"}',
    ),
    "empty-object": (b"{}", b'{"region":"us-east-1","timestamp":@now@,"level":"info"}'),
    "blank-object": (b"{ }", b'{"region":"us-east-1","timestamp":@now@,"level":"info" }'),
    "space-outside": (
        b' \t{"time":1,"level":2} ',
        b' \t{"region":"us-east-1","timestamp":1,"time":1,"level":2} ',
    ),
    "space-inside": (
        b'{ "region" : "x" ,\t"time" : 1 , "level":2 }',
        b'{"region":"us-east-1","timestamp":1, "plugin_region" : "x" ,\t"time" : 1 , "level":2 }',
    ),
    "numbers-kept": (
        b'{"time":1,"level":2,"n":[1.0,1E5,-0,10000000000000000000001,1.10]}',
        b'{"region":"us-east-1","timestamp":1,"time":1,"level":2,'
        b'"n":[1.0,1E5,-0,10000000000000000000001,1.10]}',
    ),
    "escapes-kept": (
        b'{"time":"\\u0031\\/","level":2,"m":"\\ud800 \\"\\\\"}',
        b'{"region":"us-east-1","timestamp":"\\u0031\\/","time":"\\u0031\\/","level":2,'
        b'"m":"\\ud800 \\"\\\\"}',
    ),
    "name-taken": (
        b'{"region":1,"plugin_region":2,"time":3,"level":4}',
        b'{"region":"us-east-1","timestamp":3,"plugin_region_2":1,"plugin_region":2,'
        b'"time":3,"level":4}',
    ),
    "two-names-taken": (
        b'{"plugin_region":2,"plugin_\\u0072egion_2":3,"region":1,"time":3,"level":4}',
        b'{"region":"us-east-1","timestamp":3,"plugin_region":2,"plugin_\\u0072egion_2":3,'
        b'"plugin_region_3":1,"time":3,"level":4}',
    ),
    "two-regions": (
        b'{"region":1,"region":2,"time":3,"level":4}',
        b'{"region":"us-east-1","timestamp":3,"plugin_region":1,"plugin_region_2":2,'
        b'"time":3,"level":4}',
    ),
    "escaped-keys": (
        b'{"re\\u0067ion":1,"\\u0074ime":3,"\\u006Cevel":4}',
        b'{"region":"us-east-1","timestamp":3,"plugin_region":1,"\\u0074ime":3,"\\u006Cevel":4}',
    ),
    "escaped-backslash-in-key": (
        b'{"re\\\\u0067ion":1,"time":3,"level":4}',
        b'{"region":"us-east-1","timestamp":3,"re\\\\u0067ion":1,"time":3,"level":4}',
    ),
    "nested-keys-untouched": (
        b'{"a":{"region":1,"time":2,"level":3,"timestamp":4},"b":[{"region":1}]}',
        b'{"region":"us-east-1","timestamp":@now@,"level":"info",'
        b'"a":{"region":1,"time":2,"level":3,"timestamp":4},"b":[{"region":1}]}',
    ),
    "key-as-value": (
        b'{"a":"region","b":"\\"region\\":1","time":3,"level":4}',
        b'{"region":"us-east-1","timestamp":3,"a":"region","b":"\\"region\\":1",'
        b'"time":3,"level":4}',
    ),
    "many-numbers": (
        b'{"time":3,"level":4,"n":[' + b"-1.5," * 29 + b"-1.5]}",
        b'{"region":"us-east-1","timestamp":3,"time":3,"level":4,"n":[' + b"-1.5," * 29 + b"-1.5]}",
    ),
    "very-many-numbers": (
        b'{"time":3,"level":4,"n":[' + b"-1.5," * 99 + b"-1.5]}",
        b'{"region":"us-east-1","timestamp":3,"time":3,"level":4,"n":[' + b"-1.5," * 99 + b"-1.5]}",
    ),
    "utf8": (
        '{"time":3,"level":4,"ü":"€😀\x7f"}'.encode(),
        '{"region":"us-east-1","timestamp":3,"time":3,"level":4,"ü":"€😀\x7f"}'.encode(),
    ),
}


@pytest.mark.parametrize(("line", "want"), OBJECTS.values(), ids=OBJECTS.keys())
def test_fr_013_object_is_spliced(tmp_path: Path, line: bytes, want: bytes) -> None:
    """A JSON object gets what is missing behind its brace and stays as it is otherwise."""
    assert_lines(mux(tmp_path, line + b"\n"), [want])
    assert expected_line(line) == want, "the reference differs"


@pytest.mark.parametrize(("line", "want"), OBJECTS.values(), ids=OBJECTS.keys())
def test_fr_013_repeated_object_is_spliced(tmp_path: Path, line: bytes, want: bytes) -> None:
    """A line that comes again is treated like the first of its kind."""
    assert_lines(mux(tmp_path, (line + b"\n") * 5), [want] * 5)


VALUES = {
    "array": b'[1, {"region":2}]',
    "number": b"-1.5e+3",
    "string": b'"text \\u0041"',
    "true": b"true",
    "false": b"false",
    "null": b"null",
    "spaces": b" 42 ",
}


@pytest.mark.parametrize("line", VALUES.values(), ids=VALUES.keys())
def test_fr_013_other_json_is_wrapped(tmp_path: Path, line: bytes) -> None:
    """JSON that is no object becomes the message of one, as it stands."""
    want = b'{"region":"us-east-1","timestamp":@now@,"level":"info","message":' + line + b"}"
    assert_lines(mux(tmp_path, line + b"\n"), [want])


TEXTS = {
    "text": b"panic: runtime error",
    "empty": b"",
    "blank": b"   ",
    "trailing-junk": b'{"a":1} x',
    "two-objects": b'{"a":1}{"b":2}',
    "nul-behind": b'{"a":1}\0',
    "nul-inside": b'{"a":"\0"}',
    "nul-only": b"\0",
    "latin-1": b'{"a":"\xff"}',
    "cut-utf8": b'{"a":"\xe2\x82"}',
    "surrogate": b'{"a":"\xed\xa0\x80"}',
    "overlong": b'{"a":"\xc0\xaf"}',
    "overlong-3": b'{"a":"\xe0\x80\xaf"}',
    "beyond-unicode": b'{"a":"\xf4\x90\x80\x80"}',
    "latin-1-text": b"\xfcber",
    "bom": b'\xef\xbb\xbf{"a":1}',
    "tab-in-string": b'{"a":"\t"}',
    "control-in-string": b'{"a":"\x1f"}',
    "control-in-key": b'{"\x01":1}',
    "form-feed": b'\f{"a":1}',
    "nan": b'{"a":NaN}',
    "nan-alone": b"NaN",
    "infinity": b'{"a":-Infinity}',
    "inf": b'{"a":inf}',
    "hex": b'{"a":0x10}',
    "dot-last": b'{"a":1.}',
    "dot-first": b'{"a":.5}',
    "leading-zero": b'{"a":01}',
    "leading-zero-minus": b'{"a":-01}',
    "plus": b'{"a":+1}',
    "minus-alone": b'{"a":-}',
    "exponent-empty": b'{"a":1e}',
    "comma-last": b'{"a":1,}',
    "comma-first": b'{,"a":1}',
    "comma-last-array": b"[1,]",
    "no-comma": b'{"a":1 "b":2}',
    "no-colon": b'{"a" 1}',
    "no-value": b'{"a":}',
    "bare-key": b"{a:1}",
    "single-quotes": b"{'a':1}",
    "wrong-closer": b'{"a":[1}',
    "unclosed": b'{"a":1',
    "unclosed-string": b'{"a":"x',
    "closed-twice": b'{"a":1}}',
    "bad-escape": b'{"a":"\\x"}',
    "short-unicode-escape": b'{"a":"\\u12g4"}',
    "backslash-last": b'{"a":"\\',
    "upper-literal": b'{"a":True}',
    "long-literal": b'{"a":nulll}',
}


@pytest.mark.parametrize("line", TEXTS.values(), ids=TEXTS.keys())
def test_fr_013_anything_else_is_prefixed(tmp_path: Path, line: bytes) -> None:
    """A line that is not strict JSON is written once, as it is, behind its region."""
    assert mux(tmp_path, line + b"\n") == [b"[us-east-1] " + line]
    assert expected_line(line) == b"[us-east-1] " + line, "the reference differs"


CARRIAGE_RETURNS = {
    "text": (b"text\r\n", b"[us-east-1] text"),
    "one-of-two": (b"text\r\r\n", b"[us-east-1] text\r"),
    "inside": (b"a\rb\r\n", b"[us-east-1] a\rb"),
    "empty-line": (b"\r\n", b"[us-east-1] "),
    "object": (
        b'{"time":1,"level":2}\r\n',
        b'{"region":"us-east-1","timestamp":1,"time":1,"level":2}',
    ),
    "value": (
        b"[]\r\n",
        b'{"region":"us-east-1","timestamp":@now@,"level":"info","message":[]}',
    ),
    "no-newline": (b"text\r", b"[us-east-1] text"),
}


@pytest.mark.parametrize(("data", "want"), CARRIAGE_RETURNS.values(), ids=CARRIAGE_RETURNS.keys())
def test_fr_013_carriage_return_is_dropped(tmp_path: Path, data: bytes, want: bytes) -> None:
    """The CR of a CR LF does not come out, any other does."""
    assert_lines(mux(tmp_path, data), [want])


@pytest.mark.parametrize("last", [b"text", b'{"time":1,"level":2}'], ids=["text", "object"])
def test_fr_013_last_line_without_newline(tmp_path: Path, last: bytes) -> None:
    """The end of the stream ends its last line."""
    assert_lines(mux(tmp_path, b"a\n" + last), [b"[us-east-1] a", expected_line(last)])


def test_fr_013_no_input_gives_no_output(tmp_path: Path) -> None:
    """A stream that ends without a byte writes nothing."""
    assert mux(tmp_path, b"") == []


@pytest.mark.parametrize("depth", [1000, 30000], ids=["1000", "30000"])
@pytest.mark.parametrize("closed", [True, False], ids=["closed", "unclosed"])
def test_fr_013_deep_nesting(tmp_path: Path, depth: int, closed: bool) -> None:
    """Nesting of any depth is judged like the flat."""
    line = b'{"time":1,"level":2,"a":' + b'[{"":' * depth + b"0" + b"}]" * depth
    line += b"}" if closed else b""
    want = b"[us-east-1] " + line
    if closed:
        want = b'{"region":"us-east-1","timestamp":1,' + line[1:]
    assert mux(tmp_path, line + b"\nnext\n") == [want, b"[us-east-1] next"]


MARKS = {
    "bare": (MARK, []),
    "between-lines": (b"a\n" + MARK + b"b\n", [b"a", b"b"]),
    "ends-partial": (b"part" + MARK + b"b\n", [b"part", b"b"]),
    "ends-partial-with-cr": (b"part\r" + MARK, [b"part"]),
    "twice": (MARK + MARK + b"b\n", [b"b"]),
    "last-without-newline": (b"a\n" + MARK[:-1], [b"a"]),
    "other-token": (b"part\x1eother\n", [b"part\x1eother"]),
    "inside-line": (MARK[:-1] + b" \n", [MARK[:-1] + b" "]),
    "separator-in-text": (b"\x1e\x1ea" + MARK, [b"\x1e\x1ea"]),
}


@pytest.mark.parametrize(("data", "want"), MARKS.values(), ids=MARKS.keys())
def test_fr_020_mark_ends_the_line(tmp_path: Path, data: bytes, want: list[bytes]) -> None:
    """A mark ends the line that a dead process left unfinished and is not written."""
    assert mux(tmp_path, data) == [b"[us-east-1] " + line for line in want]


def test_fr_020_mark_ends_unfinished_json(tmp_path: Path) -> None:
    """An object cut short is text; one that only lacks its newline is an object."""
    whole = b'{"time":1,"level":2}'
    want = [b"[us-east-1] " + whole[:-3], expected_line(whole)]
    assert mux(tmp_path, whole[:-3] + MARK + whole + MARK) == want


@pytest.mark.parametrize("cut", range(1, len(MARK)), ids=str)
def test_fr_020_mark_in_two_reads(
    supervise: Callable[..., Supervisor], tmp_path: Path, cut: int
) -> None:
    """A mark is known wherever a read cuts it."""
    supervisor = supervise()
    supervisor.start()
    supervisor.write(b"part" + MARK[:cut])

    def is_read() -> bool:
        return any(record[0] == "read" for record in journal_records(tmp_path))

    wait_until(is_read, "the first half to be read")
    supervisor.write(MARK[cut:] + b"next\n")
    assert supervisor.end() == b"[us-east-1] part\n[us-east-1] next\n"


OWN = {
    "complete": (b'{"region":"eu","timestamp":1,"level":2}',) * 2,
    "region-kept": (
        b'{"a":1,"region":"eu","time":3}',
        b'{"timestamp":3,"level":"info","a":1,"region":"eu","time":3}',
    ),
    "region-kept-level-given": (
        b'{"level":1,"region":"eu","time":3}',
        b'{"timestamp":3,"level":1,"region":"eu","time":3}',
    ),
    "region-added": (
        b'{"time":3,"level":1}',
        b'{"region":"-","timestamp":3,"time":3,"level":1}',
    ),
    "value": (b"1", b'{"region":"-","timestamp":@now@,"level":"info","message":1}'),
    "text": (b"bash: oops", b"[-] bash: oops"),
}


@pytest.mark.parametrize(("line", "want"), OWN.values(), ids=OWN.keys())
def test_fr_013_own_stream(tmp_path: Path, line: bytes, want: bytes) -> None:
    """An object of the container's own parts keeps its region."""
    assert_lines(mux(tmp_path, (line + b"\n") * 3, own=True), [want] * 3)
    assert expected_line(line, "-", own=True) == want, "the reference differs"


# --- Long lines -------------------------------------------------------------------------


@pytest.mark.parametrize("size", [MIB, LINE_LIMIT], ids=["1-MiB", "4-MiB"])
def test_fr_013_long_object_is_whole(tmp_path: Path, size: int) -> None:
    """An object of up to 4 MiB is an object like any other."""
    line = b'{"region":1,"time":2,"level":3,"m":"' + b"x" * size
    line = line[: size - 2] + b'"}'
    want = b'{"region":"us-east-1","timestamp":2,"plugin_region":1,"time":2,"level":3,"m":"'
    assert mux(tmp_path, b"a\n" + line + b"\nb\n") == [
        b"[us-east-1] a",
        want + line[line.index(b"xxx") :],
        b"[us-east-1] b",
    ]


OVERLONG = {
    "one-over": (LINE_LIMIT + 1, b"\n"),
    "one-over-cr": (LINE_LIMIT + 1, b"\r\n"),
    "just-not": (LINE_LIMIT, b"\r\n"),
    "two-pieces": (2 * LINE_LIMIT, b"\n"),
    "two-pieces-cr": (2 * LINE_LIMIT, b"\r\n"),
    "two-pieces-mark": (2 * LINE_LIMIT, MARK),
    "mark-over-limit": (LINE_LIMIT - 2, MARK),
    "three-pieces": (2 * LINE_LIMIT + 7, b"\n"),
    "no-newline": (LINE_LIMIT + 9, b""),
    "on-read-border": (LINE_LIMIT + READ_BYTES - 1, b"\n"),
}


@pytest.mark.parametrize(("size", "end"), OVERLONG.values(), ids=OVERLONG.keys())
def test_fr_013_overlong_line_in_pieces(tmp_path: Path, size: int, end: bytes) -> None:
    """A line of more than 4 MiB comes in pieces of 4 MiB, each behind its region."""
    line = random.Random(4).randbytes(size).replace(b"\n", b" ")[:-1] + b"."
    want = [line[pos : pos + LINE_LIMIT] for pos in range(0, size, LINE_LIMIT)]
    assert mux(tmp_path, line + end + b"next") == [
        b"[us-east-1] " + piece
        for piece in ([*want, b"next"] if end else [*want[:-1], want[-1] + b"next"])
    ]


def test_fr_013_overlong_object_is_text(tmp_path: Path) -> None:
    """No piece of an overlong object is taken for JSON; the line behind it is."""
    line = b'{"a":"' + b"x" * (LINE_LIMIT - 8) + b'"}{}'
    lines = mux(tmp_path, line + b"\n{}\n")
    assert lines[:2] == [b"[us-east-1] " + line[:LINE_LIMIT], b"[us-east-1] {}"]
    assert_lines(lines[2:], [expected_line(b"{}")])


# --- Differential fuzzing ---------------------------------------------------------------

NAMES = ["region", "time", "timestamp", "level", "plugin_region", "plugin_region_2", "a", "ü"]
SCALARS = ["0", "-0", "7", "-12", "0.5", "1.25", "-3.0", "1e5", "2E-3", "true", "false", "null"]
JUNK = [*b'{}[]:,"\\u0123eE+-. \t\r\x00\x1e\x1f\x7f\xc3\xa4\xed\xa0\x80\xff', ord("N")]


def _random_string(rng: random.Random) -> str:
    pieces = ["a", "word", " ", "ü", "€", "😀", "\\n", "\\u0041", "\\ud83d", "\\\\", '\\"', "\x7f"]
    return '"' + "".join(rng.choices(pieces, k=rng.randrange(4))) + '"'


def _random_key(rng: random.Random) -> str:
    name = rng.choice(NAMES)
    if rng.random() < 0.1:
        pos = rng.randrange(len(name))
        name = f"{name[:pos]}\\u{ord(name[pos]):04x}{name[pos + 1 :]}"
    return f'"{name}"'


def _random_value(rng: random.Random, depth: int) -> str:
    kind = rng.randrange(8 if depth < 4 else 6)
    space = rng.choice(["", "", "", " ", "\t "])
    if kind < 3:
        return _random_string(rng)
    if kind < 6:
        return rng.choice(SCALARS)
    values = [_random_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == 6:
        return f"[{space}{f'{space},'.join(values)}]"
    members = [f"{_random_key(rng)}{space}:{space}{value}" for value in values]
    return f"{{{space}{','.join(members)}{space}}}"


def _random_object(rng: random.Random) -> str:
    members = [f"{_random_key(rng)}:{_random_value(rng, 1)}" for _ in range(rng.randrange(7))]
    return "{" + ",".join(members) + "}"


def _typical_line(rng: random.Random) -> str:
    """Returns a line of one of few kinds, as a plugin writes them."""
    members = [f'"level":"{rng.choice(["info", "warn"])}"', '"plugin":"aws-public"']
    optional = [
        '"region":"unknown"',
        f'"region":"{rng.choice(REGIONS)}"',
        f'"cost":{rng.choice(SCALARS)}',
        f'"tags":{{"region":{rng.choice(SCALARS)},"n":[{rng.randrange(9)}]}}',
    ]
    members += optional[: rng.randrange(2)] or rng.sample(optional, k=1)
    members.append(f'"time":"2026-11-24T02:{rng.randrange(10, 60)}:30Z"')
    members.append(f'"message":"pricing field {rng.randrange(100)} not found"')
    if rng.random() < 0.2:
        rng.shuffle(members)
    return "{" + ",".join(members) + "}"


def _mutated(rng: random.Random, line: bytes) -> bytes:
    data = bytearray(line)
    for _ in range(rng.choice([0, 0, 1, 1, 2])):
        pos = rng.randrange(len(data) + 1)
        action = rng.randrange(4)
        if action == 0:
            data[pos:pos] = bytes([rng.choice(JUNK)])
        elif action == 1:
            data[pos : pos + 1] = bytes([rng.choice(JUNK)])
        elif action == 2:
            del data[pos : pos + rng.randrange(1, 4)]
        else:
            data[pos:] = data[: rng.randrange(3)] + data[pos:]
    return bytes(data)


def _fuzz_line(rng: random.Random) -> bytes:
    kind = rng.randrange(10)
    if kind < 5:
        return _mutated(rng, _typical_line(rng).encode())
    if kind < 8:
        return _mutated(rng, _random_object(rng).encode())
    return _mutated(rng, _random_value(rng, 0).encode())


@pytest.mark.parametrize("own", [False, True], ids=["plugin", "own"])
@pytest.mark.parametrize("seed", range(4), ids=lambda seed: f"seed-{seed}")
def test_fr_013_fuzz_against_reference(tmp_path: Path, seed: int, own: bool) -> None:
    """Thousands of lines, many of them damaged, become what Python's parser says."""
    rng = random.Random(seed)
    lines = [_fuzz_line(rng) for _ in range(3000)]
    want = [expected_line(line, "-" if own else REGION, own) for line in lines]
    assert any(line.startswith(b"{") for line in want)
    assert any(line.startswith(b"[") for line in want)
    assert_lines(mux(tmp_path, b"\n".join(lines) + b"\n", own), want)


def test_fr_013_fuzzed_objects_have_no_key_twice(tmp_path: Path) -> None:
    """Nothing added or renamed makes a key that the object has already."""
    rng = random.Random(99)
    lines = [_random_object(rng).encode() for _ in range(2000)]
    for line, output in zip(lines, mux(tmp_path, b"\n".join(lines) + b"\n"), strict=True):
        before = [name for name, *_ in _members(line.decode(), 1)]
        after = [name for name, *_ in _members(output.decode(), 1)]
        assert {"region", "timestamp", "level"} <= set(after)
        doubled = [name for name in set(after) if after.count(name) > before.count(name) > 0]
        assert doubled == [], output
        assert after.count("region") == 1 and after[0] == "region"


# --- Flow -------------------------------------------------------------------------------


def test_fr_013_concurrent_writers_and_slow_reader(
    supervise: Callable[..., Supervisor], tmp_path: Path
) -> None:
    """Of 12 writers of 9 kB lines and a slow reader, no line is torn, lost or doubled."""
    supervisor = supervise(*REGIONS)
    supervisor.start()
    count = 60

    def line(writer: int, number: int) -> bytes:
        filler = chr(ord("a") + writer) * 9000
        if number % 2:
            return f"{number} {filler}".encode()
        return f'{{"level":"info","time":{number},"message":"{filler}"}}'.encode()

    def write(writer: int) -> None:
        for number in range(count):
            supervisor.write(line(writer, number) + b"\n", writer)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(len(REGIONS))]
    for thread in threads:
        thread.start()
    output = b""
    while any(thread.is_alive() for thread in threads):
        if select.select([supervisor.reader], [], [], 0.01)[0]:
            output += os.read(supervisor.reader, 1500)
    lines = (output + supervisor.end()).split(b"\n")
    assert lines.pop() == b""
    want = {
        expected_line(line(writer, number), name): (writer, number)
        for writer, name in enumerate(REGIONS)
        for number in range(count)
    }
    order = [want[got] for got in lines]
    assert sorted(order) == sorted(want.values())
    for writer in range(len(REGIONS)):
        assert [number for who, number in order if who == writer] == list(range(count))
    stats = (tmp_path / "logmux.stats").read_text().splitlines()
    size = sum(len(line(0, number)) + 1 for number in range(count))
    assert stats == [f"{name} {count} {size}" for name in REGIONS]


def test_fr_013_loud_stream_keeps_no_other_waiting(
    supervise: Callable[..., Supervisor],
) -> None:
    """Each stream that has something is read before any is read again."""
    supervisor = supervise("loud", "quiet")
    fcntl.fcntl(supervisor.fifos[0], fcntl.F_SETPIPE_SZ, MIB)
    line = b"x" * 63 + b"\n"
    supervisor.write(line * (MIB // 2 // len(line)), 0)
    supervisor.write(b"here\n", 1)
    supervisor.start()
    lines = supervisor.end().split(b"\n")
    assert lines.index(b"[quiet] here") <= READ_BYTES // len(line)


def _fill(supervisor: Supervisor, line: bytes) -> int:
    """Writes whole lines until no FIFO takes any more; returns how many."""
    count = 0
    for fifo in supervisor.fifos:
        try:
            while os.write(fifo, line):
                count += 1
        except BlockingIOError:
            pass
    return count


def test_fr_013_stuck_reader_bounds_memory(supervise: Callable[..., Supervisor]) -> None:
    """While nobody reads stdout, logmux stops reading, its memory is bounded, all is kept."""
    supervisor = supervise(*REGIONS)
    process = supervisor.start()
    line = b'{"level":"info","time":1,"message":"' + b"y" * 473 + b'"}\n'
    assert select.PIPE_BUF % len(line) == 0
    written = 0

    def is_stuck() -> bool:
        nonlocal written
        before = written
        written += _fill(supervisor, line)
        asleep = process_state(process.pid) == "S"
        written += _fill(supervisor, line)
        return asleep and queued(supervisor.reader) > 0 and written == before

    wait_until(is_stuck, "everything to be full")
    status = Path(f"/proc/{process.pid}/status").read_text()
    resident = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert resident is not None and int(resident[1]) < RSS_LIMIT_KB
    lines = supervisor.end().split(b"\n")
    assert len(lines) == written + 1
    assert set(lines[:-1]) == {expected_line(line[:-1], name) for name in REGIONS}


def test_fr_013_endless_line_bounds_memory(
    supervise: Callable[..., Supervisor], tmp_path: Path
) -> None:
    """A line that never ends neither fills the memory nor the state directory."""
    supervisor = supervise()
    process = supervisor.start()
    size = 40 * LINE_LIMIT
    drained = 0

    def drain() -> None:
        nonlocal drained
        while chunk := os.read(supervisor.reader, MIB):
            drained += len(chunk)

    reader = threading.Thread(target=drain, daemon=True)
    reader.start()
    supervisor.write(b"z" * size)
    pieces = 39 * (LINE_LIMIT + len(b"[us-east-1] \n"))
    wait_until(lambda: drained >= pieces, "the pieces")
    status = Path(f"/proc/{process.pid}/status").read_text()
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert peak is not None and int(peak[1]) < RSS_LIMIT_OVERLONG_KB
    assert sum(path.stat().st_size for path in tmp_path.glob("logmux.*")) < 32 * MIB


# --- Kill and start again ---------------------------------------------------------------


def _is_in_step(supervisor: Supervisor, written: int, received: int) -> bool:
    """Tells whether the journal knows all that was read and written.

    It does not in the two gaps that no program can close: between a read or a write and
    the record of it. A kill there may lose or double a chunk.
    """
    read = emitted = 0
    for kind, first, second, payload in journal_records(supervisor.state):
        if kind == "count":
            read += second
        elif kind == "read":
            read += len(payload)
        elif kind in ("pending", "wrote"):
            emitted = first
    taken = written - sum(queued(fifo) for fifo in supervisor.fifos)
    return (taken, received + queued(supervisor.reader)) == (read, emitted)


def test_fr_020_kill_in_full_flow(supervise: Callable[..., Supervisor], tmp_path: Path) -> None:
    """Killed again and again in full flow, logmux loses, tears and doubles no line."""
    kills_wanted = 25
    rng = random.Random(7)
    supervisor = supervise(*REGIONS[:4])
    os.set_blocking(supervisor.reader, False)
    process = supervisor.start()
    lines: list[list[bytes]] = [[] for _ in supervisor.fifos]
    unsent = [b""] * len(supervisor.fifos)
    output: list[bytes] = []
    written = received = kills = number = 0

    def refill(stream: int) -> bytes:
        nonlocal number
        batch = []
        for _ in range(rng.randrange(1, 400)):
            number += 1
            size = 12000 if number % 997 == 0 else rng.randrange(150)
            batch.append(f"{number} {'t' * size}".encode())
            if number % 3:
                batch[-1] = b'{"level":"x","time":%d,"region":"%s"}' % (number, b"r" * size)
            elif number % 6 == 0:
                batch[-1] = b"%d" % number
        lines[stream] += batch
        return b"\n".join(batch) + b"\n"

    def flow() -> None:
        nonlocal written, received
        for stream, fifo in enumerate(supervisor.fifos):
            unsent[stream] = unsent[stream] or refill(stream)
            try:
                count = os.write(fifo, unsent[stream])
            except BlockingIOError:
                continue
            written += count
            unsent[stream] = unsent[stream][count:]
        try:
            output.append(os.read(supervisor.reader, rng.choice([700, READ_BYTES])))
            received += len(output[-1])
        except BlockingIOError:
            pass

    def has_flowed(goal: int) -> bool:
        for _ in range(rng.randrange(1, 20)):
            flow()
        return received >= goal

    while kills < kills_wanted:
        # Some kills meet it while it starts, most while it is at work.
        goal = received + rng.choice([0, 1, 100_000, 300_000])
        wait_until(functools.partial(has_flowed, goal), "output")
        process.send_signal(signal.SIGSTOP)
        wait_until(functools.partial(is_in_state, process.pid, "T"), "logmux to stop")
        if _is_in_step(supervisor, written, received):
            supervisor.kill()
            kills += 1
            process = supervisor.start()
        else:
            process.send_signal(signal.SIGCONT)
    os.set_blocking(supervisor.reader, True)
    drain = threading.Thread(target=lambda: output.append(supervisor.end()))
    for fifo, left in zip(supervisor.fifos, unsent, strict=True):
        rest = left
        while rest:
            ready, writable, _ = select.select([supervisor.reader], [fifo], [], DEADLINE_S)
            if ready:
                output.append(os.read(supervisor.reader, READ_BYTES))
            if writable:
                rest = rest[os.write(fifo, rest) :]
    drain.start()
    drain.join(2 * DEADLINE_S)
    by_region: dict[bytes, list[bytes]] = {name.encode(): [] for name in REGIONS[:4]}
    for line in b"".join(output).split(b"\n")[:-1]:
        region = re.match(rb'(?:\[|\{"region":")([a-z0-9-]+)', line)
        assert region is not None, line[:200]
        by_region[region[1]].append(line)
    for name, sent in zip(REGIONS, lines, strict=False):
        assert_lines(by_region[name.encode()], [expected_line(line, name) for line in sent])
    stats = (tmp_path / "logmux.stats").read_text()
    assert stats == "".join(
        f"{name} {len(sent)} {sum(map(len, sent)) + len(sent)}\n"
        for name, sent in zip(REGIONS, lines, strict=False)
    )


def _wait_until_read(supervisor: Supervisor, total: int) -> None:
    def is_read() -> bool:
        records = journal_records(supervisor.state)
        return total == sum(
            second if kind == "count" else len(payload) if kind == "read" else 0
            for kind, _, second, payload in records
        )

    wait_until(is_read, "the journal to have all")


def test_fr_020_unfinished_line_survives_kill(supervise: Callable[..., Supervisor]) -> None:
    """The part of a line that was read before a kill is put before the part read after."""
    supervisor = supervise(*REGIONS[:2])
    total = 0
    for part in (b"one ", b"two ", b"three"):
        supervisor.start()
        supervisor.write(part, 1)
        total += len(part)
        _wait_until_read(supervisor, total)
        supervisor.kill()
    supervisor.start()
    supervisor.write(b"\n", 1)
    assert supervisor.end() == b"[us-east-2] one two three\n"


def test_fr_020_unfinished_overlong_line_survives_kill(
    supervise: Callable[..., Supervisor],
) -> None:
    """A line of which pieces are out already goes on in pieces after a kill."""
    supervisor = supervise()
    supervisor.start()
    head = b"h" * (LINE_LIMIT + READ_BYTES)
    piece = b"[us-east-1] " + head[:LINE_LIMIT] + b"\n"
    threading.Thread(target=supervisor.write, args=(head,)).start()
    output = b""
    while len(output) < len(piece):
        output += os.read(supervisor.reader, READ_BYTES)
    _wait_until_read(supervisor, len(head))
    wait_until(lambda: _is_in_step(supervisor, len(head), len(output)), "the journal")
    supervisor.kill()
    supervisor.start()
    supervisor.write(b"{}\n")
    output += supervisor.end()
    assert output == piece + b"[us-east-1] " + head[LINE_LIMIT:] + b"{}\n"


def test_fr_020_kill_while_stdout_is_full(supervise: Callable[..., Supervisor]) -> None:
    """Lines that stdout had no room for are written after a kill, from where it stopped."""
    supervisor = supervise()
    process = supervisor.start()
    lines = [b'"%d"' % number for number in range(20000)]
    data = b"\n".join(lines) + b"\n"
    sent = 0

    def is_stuck() -> bool:
        nonlocal sent
        try:
            sent += os.write(supervisor.fifos[0], data[sent:])
        except BlockingIOError:
            return process_state(process.pid) == "S" and queued(supervisor.reader) > 0
        return False

    wait_until(is_stuck, "stdout to be full")
    wait_until(lambda: _is_in_step(supervisor, sent, 0), "the journal")
    supervisor.kill()
    supervisor.start()
    output: list[bytes] = []
    rest = threading.Thread(target=supervisor.write, args=(data[sent:],))
    rest.start()
    while rest.is_alive():
        if select.select([supervisor.reader], [], [], 0.01)[0]:
            output.append(os.read(supervisor.reader, READ_BYTES))
    output.append(supervisor.end())
    got = b"".join(output).split(b"\n")[:-1]
    assert_lines(got, [expected_line(line) for line in lines])


DAMAGES = {
    "cut-payload": b"read 1 1764000000000 500\nhalf",
    "cut-head": b"read 1 17640",
    "head-only": b"read 1 1764000000000 500\n",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_fr_020_journal_cut_short(
    supervise: Callable[..., Supervisor], tmp_path: Path, damage: bytes
) -> None:
    """A journal whose last record is cut short is good up to there."""
    supervisor = supervise()
    supervisor.start()
    supervisor.write(b"kept ")
    _wait_until_read(supervisor, 5)
    supervisor.kill()
    with (tmp_path / "logmux.journal").open("ab") as journal:
        journal.write(damage)
    supervisor.start()
    supervisor.write(b"line\n")
    assert supervisor.end() == b"[us-east-1] kept line\n"


def test_fr_020_stream_that_is_gone_is_played_to_its_end(
    supervise: Callable[..., Supervisor],
) -> None:
    """What the journal holds of a stream that is no argument any more still comes out."""
    supervisor = supervise(*REGIONS[:2])
    supervisor.start()
    supervisor.write(b"left", 1)
    _wait_until_read(supervisor, 4)
    supervisor.kill()
    supervisor.streams.pop()
    supervisor.start()
    assert supervisor.end() == b"[us-east-2] left\n"


def test_fr_020_journal_is_gone_after_a_clean_end(
    supervise: Callable[..., Supervisor], tmp_path: Path
) -> None:
    """After a clean end only the counters are left, and they go on at the next start."""
    for turn in (1, 2):
        path = tmp_path / "stream"
        path.write_bytes(b"12345\n" * 3 + MARK + b"x" + MARK)
        subprocess.run(command(tmp_path, f"{REGION}={path}"), capture_output=True, check=True)
        assert [entry.name for entry in tmp_path.glob("logmux*")] == ["logmux.stats"]
        stats = (tmp_path / "logmux.stats").read_text()
        assert stats == f"{REGION} {4 * turn} {19 * turn}\n"


def test_fr_020_journal_is_bounded(supervise: Callable[..., Supervisor], tmp_path: Path) -> None:
    """However much flows, the journal stays a few MiB long."""
    supervisor = supervise()
    supervisor.start()
    data = (b"x" * 1023 + b"\n") * 1024
    longest = 0
    for _ in range(12):
        writer = threading.Thread(target=supervisor.write, args=(data,))
        writer.start()
        left = len(data) + 1024 * len(b"[us-east-1] ")
        while left:
            left -= len(os.read(supervisor.reader, left))
            longest = max(longest, (tmp_path / "logmux.journal").stat().st_size)
        writer.join(DEADLINE_S)
    assert supervisor.end() == b""
    assert READ_BYTES < longest < 3 * MIB


# --- Counters ---------------------------------------------------------------------------


def test_fr_020_stats_while_running(supervise: Callable[..., Supervisor], tmp_path: Path) -> None:
    """The counters are written while it runs, per name, over all streams of the name."""
    supervisor = supervise("a", "a", "b")
    supervisor.start()
    supervisor.write(b"123\n", 0)
    supervisor.write(b"12345\n", 1)
    stats = tmp_path / "logmux.stats"

    def has(text: str) -> Callable[[], bool]:
        return lambda: stats.exists() and stats.read_text() == text

    wait_until(has("a 2 10\nb 0 0\n"), "the first counters")
    supervisor.write(b"1\nhalf", 2)
    wait_until(has("a 2 10\nb 1 6\n"), "the second counters")
    supervisor.end()
    assert has("a 2 10\nb 2 6\n")()


# --- Ends -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE],
    ids=lambda number: signal.Signals(number).name,
)
def test_fr_020_signals_do_not_end_it(
    supervise: Callable[..., Supervisor], number: signal.Signals
) -> None:
    """The signals that end a container do not end its log."""
    supervisor = supervise()
    process = supervisor.start()
    supervisor.write(b"before\n")
    assert supervisor.read_lines(1) == [b"[us-east-1] before"]
    process.send_signal(number)
    supervisor.write(b"after\n")
    assert supervisor.end() == b"[us-east-1] after\n"


def test_fr_020_stdout_flags_are_restored(supervise: Callable[..., Supervisor]) -> None:
    """While it runs stdout does not block; after a clean end it is as it was."""
    supervisor = supervise()
    kept = os.dup(supervisor.stdout)
    supervisor.start()
    supervisor.write(b"x\n")
    assert supervisor.read_lines(1) == [b"[us-east-1] x"]
    assert not os.get_blocking(kept)
    supervisor.close_fifos()
    assert supervisor.reap() == 0
    assert os.get_blocking(kept)
    os.close(kept)


def test_fr_020_gone_reader_ends_it(supervise: Callable[..., Supervisor]) -> None:
    """Without a reader it exits 1, and what was not written comes with the next start."""
    supervisor = supervise()
    supervisor.start()
    supervisor.write(b"before\n")
    assert supervisor.read_lines(1) == [b"[us-east-1] before"]
    os.close(supervisor.reader)
    supervisor.write(b"after\n")
    assert supervisor.reap() == 1
    os.close(supervisor.stdout)
    supervisor.reader, supervisor.stdout = os.pipe()
    supervisor.start()
    assert supervisor.end() == b"[us-east-1] after\n"


def test_fr_020_closed_stdout_ends_it(tmp_path: Path) -> None:
    """Started without a stdout it exits 1."""
    path = tmp_path / "stream"
    path.write_bytes(b"x\n")
    words = command(tmp_path, f"{REGION}={path}")
    done = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *words], check=False)
    assert done.returncode == 1


def test_fr_013_unreadable_stream_is_reported(tmp_path: Path) -> None:
    """A stream that cannot be read ends with an error line, the others go on."""
    path = tmp_path / "stream"
    path.write_bytes(b"x\n")
    words = command(tmp_path, f"eu-west-1={tmp_path}", f"{REGION}={path}")
    done = subprocess.run(words, capture_output=True, check=True)
    error, line = done.stdout.splitlines()
    assert json.loads(error)["level"] == "error" and "cannot read" in json.loads(error)["message"]
    assert line == b"[us-east-1] x"


USAGE = {
    "nothing": [],
    "no-mark": ["--state", "{dir}", "a={file}"],
    "empty-mark": ["--mark", "", "--state", "{dir}", "a={file}"],
    "mark-with-newline": ["--mark", "a\nb", "--state", "{dir}", "a={file}"],
    "no-state": ["--mark", "m", "a={file}"],
    "mark-without-value": ["--state", "{dir}", "a={file}", "--mark"],
    "no-stream": ["--mark", "m", "--state", "{dir}"],
    "no-equals": ["--mark", "m", "--state", "{dir}", "a"],
    "no-path": ["--mark", "m", "--state", "{dir}", "a="],
    "bad-name": ["--mark", "m", "--state", "{dir}", 'a"b={file}'],
    "own-without-value": ["--mark", "m", "--state", "{dir}", "a={file}", "--own"],
    "unknown-option": ["--mark", "m", "--state", "{dir}", "a={file}", "--verbose"],
    "path-twice": ["--mark", "m", "--state", "{dir}", "a={file}", "b={file}"],
    "missing-fifo": ["--mark", "m", "--state", "{dir}", 'a={file}"\u00fc\x01'],
    "missing-state-dir": ["--mark", "m", "--state", "{dir}/none", "a={file}"],
}


@pytest.mark.parametrize("arguments", USAGE.values(), ids=USAGE.keys())
def test_fr_013_bad_arguments(tmp_path: Path, arguments: list[str]) -> None:
    """Bad arguments give one JSON line and the exit status 64."""
    path = tmp_path / "stream"
    path.write_bytes(b"x\n")
    words = [
        word.replace("{dir}", str(tmp_path)).replace("{file}", str(path)) for word in arguments
    ]
    done = subprocess.run([str(LUA), str(SCRIPT), *words], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (64, b"")
    assert done.stdout.count(b"\n") == 1
    error = json.loads(done.stdout)
    assert (error["level"], error["region"]) == ("error", "-")
    assert error["message"].startswith("logmux: ")
    assert re.fullmatch(NOW_PATTERN, json.dumps(error["timestamp"]).encode())
