"""Compare image/logmux.lua, killed and restarted at random, with a strict JSON parser."""

from __future__ import annotations

import json
import sys

from harness.engine.logs import judge
from tests.fuzz.lua import LuaProgram
from tests.fuzz.targets.target import Target
from tests.unit.logmux.reference import REGION, expected_line
from tests.unit.logmux.running import MARK

NOW = '"2025-11-24T16:00:00.250Z"'
"""The clock of lua/log_writer.lua stands still."""
HEAD = 5
OWN, DISK_FULL = 1, 2

_mux = LuaProgram("logmux.lua", "log_writer.lua")
# The reference parser is recursive, the log writer is not.
sys.setrecursionlimit(20_000)


def run(data: bytes) -> None:
    """Five bytes select the environment; the rest is the plugin's output."""
    if len(data) < HEAD:
        return
    flags, chunk, write_limit, kill_every, _ = data[:HEAD]
    text = data[HEAD:]
    own, disk_full = bool(flags & OWN), bool(flags & DISK_FULL)
    # Without a journal a kill may lose lines; the program then reports it.
    kills = 0 if disk_full else kill_every
    output, stats, status = _mux.run(text, own, disk_full, chunk, write_limit, kills)
    assert status == 0, output
    got = output.split(b"\n")
    assert got.pop() == b"", output
    if disk_full:
        assert b"no space in dir" in got.pop(0)
    wanted = [expected_line(line, REGION, own, NOW) for line in lines_of(text)]
    assert got == wanted, next(pair for pair in zip(got, wanted, strict=False) if len({*pair}) > 1)
    for line in got:
        strict(line, own)
    if not disk_full:
        marks = sum(line.endswith(MARK[:-1]) for line in text.split(b"\n")[:-1])
        if text.endswith((b"\n", b"")) and not text.endswith(MARK[:-1]):
            counted = f"{REGION} {len(wanted)} {len(text) - marks * len(MARK)}\n"
            assert stats.decode() == counted, stats


def lines_of(text: bytes) -> list[bytes]:
    """Return the lines of a stream; a mark ends a line that a killed process left unfinished."""
    lines = text.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    found = []
    for line in lines:
        bare = line.removesuffix(MARK[:-1])
        if bare or bare == line:
            found.append(bare)
    return found


def strict(line: bytes, own: bool) -> None:
    """Check that unprefixed text is one strict JSON object that the harness accepts."""
    if line.startswith(b"["):
        return
    fields = json.loads(line.decode())
    assert "region" in fields and "timestamp" in fields and "level" in fields
    if not own:
        assert fields["region"] == REGION
        assert judge(line, 0, frozenset({REGION})).problem in {"", "a key appears twice"}, line


TARGET = Target(
    name="log_writer",
    run=run,
    words=(
        *(b'"region":', b'"time":', b'"timestamp":', b'"level":"info",', b'"plugin_region":1,'),
        *(b'"plugin_region_2":', b'"\\u0072egion":', b"\\ud800", b"\xed\xa0\x80", b"\r\n", b"\n"),
        *(b"-0", b"1.5e+1", b"true", b"false", b"null", b"[]", b"{}", b"\\\\", b'\\"', MARK),
        *(
            b'{"time":"T","level":"a","message":"m"}\n',
            b"\xc3\xa9",
            b"\xf0\x9f\x98\x80",
            b"\x7f",
            b"\xed\xbf\xbf",
            b"1e",
            b"1.",
            b"01",
            b"[1}",
        ),
    ),
    longest=1500,
)
