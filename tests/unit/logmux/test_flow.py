"""Many writers, slow readers, and resource bounds."""

from __future__ import annotations

import fcntl
import os
import re
import select
import threading
from collections.abc import Callable
from pathlib import Path

from tests.unit.logmux.reference import expected_line
from tests.unit.logmux.running import (
    LINE_LIMIT,
    MIB,
    READ_BYTES,
    REGIONS,
    Supervisor,
    needs_lua,
    process_state,
    queued,
    wait_until,
)

pytestmark = needs_lua

RSS_LIMIT_KB = 48 * 1024
RSS_LIMIT_OVERLONG_KB = 96 * 1024


def test_fr_013_concurrent_writers_and_slow_reader(
    supervise: Callable[..., Supervisor], tmp_path: Path
) -> None:
    """With 12 writers of 9 kB lines and a slow reader, no line is torn, lost or duplicated."""
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
    """Every stream with data is read before any is read again."""
    supervisor = supervise("loud", "quiet")
    fcntl.fcntl(supervisor.fifos[0], fcntl.F_SETPIPE_SZ, MIB)
    line = b"x" * 63 + b"\n"
    supervisor.write(line * (MIB // 2 // len(line)), 0)
    supervisor.write(b"here\n", 1)
    supervisor.start()
    lines = supervisor.end().split(b"\n")
    assert lines.index(b"[quiet] here") <= READ_BYTES // len(line)


def _fill(supervisor: Supervisor, line: bytes) -> int:
    """Write whole lines until every FIFO is full; return how many."""
    count = 0
    for fifo in supervisor.fifos:
        try:
            while os.write(fifo, line):
                count += 1
        except BlockingIOError:
            pass
    return count


def test_fr_013_stuck_reader_bounds_memory(supervise: Callable[..., Supervisor]) -> None:
    """While nothing reads stdout, logmux stops reading, bounds its memory and keeps all data."""
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
    """An endless line fills neither memory nor the state directory."""
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
