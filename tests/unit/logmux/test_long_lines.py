"""Lines up to 4 MiB are whole; longer ones are split into pieces."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.unit.logmux.reference import assert_lines, expected_line
from tests.unit.logmux.running import LINE_LIMIT, MARK, MIB, READ_BYTES, mux, needs_lua

pytestmark = needs_lua


@pytest.mark.parametrize("size", [MIB, LINE_LIMIT], ids=["1-MiB", "4-MiB"])
def test_fr_013_long_object_is_whole(tmp_path: Path, size: int) -> None:
    """An object of up to 4 MiB is treated like any other."""
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
    """A line longer than 4 MiB is split into pieces of 4 MiB, each prefixed with its region."""
    line = random.Random(4).randbytes(size).replace(b"\n", b" ")[:-1] + b"."
    want = [line[pos : pos + LINE_LIMIT] for pos in range(0, size, LINE_LIMIT)]
    assert mux(tmp_path, line + end + b"next") == [
        b"[us-east-1] " + piece
        for piece in ([*want, b"next"] if end else [*want[:-1], want[-1] + b"next"])
    ]


def test_fr_013_overlong_object_is_text(tmp_path: Path) -> None:
    """No piece of an overlong object is treated as JSON; the next line is."""
    line = b'{"a":"' + b"x" * (LINE_LIMIT - 8) + b'"}{}'
    lines = mux(tmp_path, line + b"\n{}\n")
    assert lines[:2] == [b"[us-east-1] " + line[:LINE_LIMIT], b"[us-east-1] {}"]
    assert_lines(lines[2:], [expected_line(b"{}")])
