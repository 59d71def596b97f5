"""SIGKILL at any moment: nothing is lost, torn or duplicated."""

from __future__ import annotations

import functools
import os
import random
import re
import select
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from tests.unit.logmux.reference import assert_lines, expected_line
from tests.unit.logmux.running import (
    DEADLINE_S,
    LINE_LIMIT,
    READ_BYTES,
    REGIONS,
    Supervisor,
    is_in_state,
    journal_records,
    needs_lua,
    process_state,
    queued,
    wait_until,
    wait_until_read,
)

pytestmark = needs_lua


def _is_in_step(supervisor: Supervisor, written: int, received: int) -> bool:
    """Return whether the journal has recorded everything read and written.

    It has not in the two unavoidable gaps, between a read or a write and its record. A kill there
    may lose or duplicate a chunk.
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
    """Killed repeatedly at full throughput, logmux loses, tears and duplicates no line."""
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
        # Some kills hit it during start, most while it is working.
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


def test_fr_020_unfinished_line_survives_kill(supervise: Callable[..., Supervisor]) -> None:
    """The part of a line read before a kill is joined with the part read after."""
    supervisor = supervise(*REGIONS[:2])
    total = 0
    for part in (b"one ", b"two ", b"three"):
        supervisor.start()
        supervisor.write(part, 1)
        total += len(part)
        wait_until_read(supervisor, total)
        supervisor.kill()
    supervisor.start()
    supervisor.write(b"\n", 1)
    assert supervisor.end() == b"[us-east-2] one two three\n"


def test_fr_020_unfinished_overlong_line_survives_kill(
    supervise: Callable[..., Supervisor],
) -> None:
    """A line that is already being written in pieces continues in pieces after a kill."""
    supervisor = supervise()
    supervisor.start()
    head = b"h" * (LINE_LIMIT + READ_BYTES)
    piece = b"[us-east-1] " + head[:LINE_LIMIT] + b"\n"
    threading.Thread(target=supervisor.write, args=(head,)).start()
    output = b""
    while len(output) < len(piece):
        output += os.read(supervisor.reader, READ_BYTES)
    wait_until_read(supervisor, len(head))
    wait_until(lambda: _is_in_step(supervisor, len(head), len(output)), "the journal")
    supervisor.kill()
    supervisor.start()
    supervisor.write(b"{}\n")
    output += supervisor.end()
    assert output == piece + b"[us-east-1] " + head[LINE_LIMIT:] + b"{}\n"


def test_fr_020_kill_while_stdout_is_full(supervise: Callable[..., Supervisor]) -> None:
    """Lines that did not fit into stdout are written after a kill, continuing where it stopped."""
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
