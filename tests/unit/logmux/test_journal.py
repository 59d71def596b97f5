"""The journal: damage, other streams, clean exit, and size limit."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.core.regions import IMAGE_DIRECTORY
from tests.unit.logmux.reference import REGION
from tests.unit.logmux.running import (
    DEADLINE_S,
    MARK,
    MIB,
    READ_BYTES,
    REGIONS,
    Supervisor,
    command,
    needs_lua,
    wait_until_read,
)

pytestmark = needs_lua

DAMAGES = {
    "cut-payload": b"read 1 1764000000000 500\nhalf",
    "cut-head": b"read 1 17640",
    "head-only": b"read 1 1764000000000 500\n",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_fr_020_journal_cut_short(
    supervise: Callable[..., Supervisor], tmp_path: Path, damage: bytes
) -> None:
    """A journal with a truncated last record is valid up to that record."""
    supervisor = supervise()
    supervisor.start()
    supervisor.write(b"kept ")
    wait_until_read(supervisor, 5)
    supervisor.kill()
    with (tmp_path / "logmux.journal").open("ab") as journal:
        journal.write(damage)
    supervisor.start()
    supervisor.write(b"line\n")
    assert supervisor.end() == b"[us-east-1] kept line\n"


def test_fr_020_stream_that_is_gone_is_played_to_its_end(
    supervise: Callable[..., Supervisor],
) -> None:
    """Journal data of a stream that is no longer an argument is still written."""
    supervisor = supervise(*REGIONS[:2])
    supervisor.start()
    supervisor.write(b"left", 1)
    wait_until_read(supervisor, 4)
    supervisor.kill()
    supervisor.streams.pop()
    supervisor.start()
    assert supervisor.end() == b"[us-east-2] left\n"


def test_fr_020_journal_is_gone_after_a_clean_end(
    supervise: Callable[..., Supervisor], tmp_path: Path
) -> None:
    """After a clean exit only the counters remain, and the next start continues them."""
    for turn in (1, 2):
        path = tmp_path / "stream"
        path.write_bytes(b"12345\n" * 3 + MARK + b"x" + MARK)
        subprocess.run(command(tmp_path, f"{REGION}={path}"), capture_output=True, check=True)
        assert [entry.name for entry in tmp_path.glob("logmux*")] == ["logmux.stats"]
        stats = (tmp_path / "logmux.stats").read_text()
        assert stats == f"{REGION} {4 * turn} {19 * turn}\n"


def test_fr_020_journal_is_bounded(supervise: Callable[..., Supervisor], tmp_path: Path) -> None:
    """The journal stays at a few MiB, however much data flows."""
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


def test_fr_020_full_disk_leaves_the_journal_complete(tmp_path: Path) -> None:
    """The reserve makes room for a record and a new journal: a kill at any moment loses no line."""
    program = Path(__file__).with_name("full_disk.lua")
    made = subprocess.run(
        ["lua5.3", program, IMAGE_DIRECTORY, tmp_path, "100000"],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    assert made.stdout.splitlines() == ["the last line is replayed"]
