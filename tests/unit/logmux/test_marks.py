"""The mark that means "a new process writes from here"."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.logmux.reference import expected_line
from tests.unit.logmux.running import MARK, Supervisor, journal_records, mux, needs_lua, wait_until

pytestmark = needs_lua

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
    """A mark ends the line that a dead process left unfinished, and is not written."""
    assert mux(tmp_path, data) == [b"[us-east-1] " + line for line in want]


def test_fr_020_mark_ends_unfinished_json(tmp_path: Path) -> None:
    """A truncated object is text; one that only lacks its newline is an object."""
    whole = b'{"time":1,"level":2}'
    want = [b"[us-east-1] " + whole[:-3], expected_line(whole)]
    assert mux(tmp_path, whole[:-3] + MARK + whole + MARK) == want


@pytest.mark.parametrize("cut", range(1, len(MARK)), ids=str)
def test_fr_020_mark_in_two_reads(
    supervise: Callable[..., Supervisor], tmp_path: Path, cut: int
) -> None:
    """A mark is recognized even if it is split between reads."""
    supervisor = supervise()
    supervisor.start()
    supervisor.write(b"part" + MARK[:cut])

    def is_read() -> bool:
        return any(record[0] == "read" for record in journal_records(tmp_path))

    wait_until(is_read, "the first half to be read")
    supervisor.write(MARK[cut:] + b"next\n")
    assert supervisor.end() == b"[us-east-1] part\n[us-east-1] next\n"
