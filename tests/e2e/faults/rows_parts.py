"""Faults of the proxy and the log writer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

from .row import EVERY, JUST_READ, RESTARTS, Row
from .rows_regions import ONE
from .world import PROXY, WRITER, World

SEEN_SECONDS = 15  # in which a stopped part is found


NAMED = {PROXY: "proxy", WRITER: "log-writer"}  # as the supervisor calls them


def _hit(signal: str, word: str, times: int, world: World) -> None:
    """Send the signal and wait for another process in its place, `times` times."""
    for _ in range(times):
        before = world.ends[NAMED[word]]
        world.send(signal, word)
        world.await_ended(NAMED[word], before, SEEN_SECONDS)
        world.traffic.await_all_up(5, world.ending)


def _hit_to_death(word: str, world: World) -> None:
    _hit("KILL", word, RESTARTS, world)
    world.send("KILL", word)
    world.container.wait_dead(10)


def _proxy() -> Iterator[Row]:
    back = "restarted at once; requests fail only until then"
    for name, signal, times in (
        ("kill-9", "KILL", 1),
        ("kill-9-thrice", "KILL", 3),
        ("segfault", "SEGV", 1),
        ("term", "TERM", 1),
        ("soft-stop", "USR1", 1),
    ):
        yield Row(
            name=f"proxy-{name}",
            requirement="FR-017",
            done=f"SIG{signal} to the proxy" + (", three times" if times > 1 else ""),
            promised=back,
            act=partial(_hit, signal, PROXY, times),
            hit=EVERY,
            recovers=3,
        )
    yield Row(
        name="proxy-stop",
        requirement="FR-017",
        done="SIGSTOP to the proxy",
        promised=f"detected within {SEEN_SECONDS} s, killed and restarted",
        act=partial(_hit, "STOP", PROXY, 1),
        hit=EVERY,
        recovers=SEEN_SECONDS + 3,
    )
    yield Row(
        name="proxy-killed-too-often",
        requirement="FR-017",
        done=f"kill -9 of the proxy, {RESTARTS + 1} times",
        promised="the container exits with code 1; the last line names the proxy",
        act=partial(_hit_to_death, PROXY),
        hit=EVERY,
        ends=True,
        exit_code=1,
        last_words="proxy failed again",
    )


def _writer_told_to_end(world: World) -> None:
    for signal in ("TERM", "INT", "HUP"):
        world.send(signal, WRITER)


def _writer() -> Iterator[Row]:
    for name, signal, times in (
        ("kill-9", "KILL", 1),
        ("kill-9-thrice", "KILL", 3),
        ("segfault", "SEGV", 1),
        ("stop", "STOP", 1),
    ):
        yield Row(
            name=f"log-writer-{name}",
            requirement="FR-013",
            done=f"SIG{signal} to the log writer" + (", three times" if times > 1 else ""),
            promised=f"replaced; no line is torn; {JUST_READ}; no request fails",
            act=partial(_hit, signal, WRITER, times),
            doubles_lines=True,
            loses_reads=times,
        )
    yield Row(
        name="log-writer-term",
        requirement="FR-013",
        done="SIGTERM, SIGINT and SIGHUP to the log writer",
        promised="it keeps running until its last stream ends",
        act=_writer_told_to_end,
    )
    yield Row(
        name="log-writer-killed-too-often",
        requirement="FR-017",
        done=f"kill -9 of the log writer, {RESTARTS + 1} times",
        promised="the container exits with code 1; the last line names the log writer",
        act=partial(_hit_to_death, WRITER),
        doubles_lines=True,
        loses_reads=RESTARTS + 1,
        hit=EVERY,
        ends=True,
        exit_code=1,
        last_words="log-writer failed again",
    )


def _at_stop(word: str, signal: str, world: World) -> None:
    """Hit a part while one region is slow to stop."""
    world.order(ONE[0], "sigterm&delay=1500ms")
    with world.in_flight(1.5):
        world.container.signal("SIGTERM")
        signalled_at = time.monotonic()
        world.container.log.wait_for(world.ending, 1)
        world.send(signal, word)
        world.struck_at = signalled_at


def _stopped_before(word: str, world: World) -> None:
    world.send("STOP", word)
    world.container.signal("SIGTERM")
    world.strike()


def _at_the_end() -> Iterator[Row]:
    for part, word in (("proxy", PROXY), ("log-writer", WRITER)):
        yield Row(
            name=f"{part}-stopped-then-term",
            requirement="SC-003",
            done=f"SIGSTOP to the {part.replace('-', ' ')}, then at once SIGTERM to the container",
            promised="exits with code 0 within 3 s; no line is lost",
            act=partial(_stopped_before, word),
            hit=EVERY,
            ends=True,
            stop_seconds=3,  # less than FINFOCUS_STOP_SECONDS: it is continued, not killed
        )
    for part, word in (("proxy", PROXY), ("log-writer", WRITER)):
        for signal in ("KILL", "STOP"):
            yield Row(
                name=f"{part}-{signal.lower()}-during-stop",
                requirement="SC-003",
                done=f"SIG{signal} to the {part.replace('-', ' ')} while the container stops",
                promised=(
                    "exits with code 0 within 5 s; "
                    + (JUST_READ if word == WRITER else "no line is lost")
                ),
                act=partial(_at_stop, word, signal),
                doubles_lines=word == WRITER,
                loses_reads=int(word == WRITER),
                hit=EVERY,
                ends=True,
            )


def rows() -> Iterator[Row]:
    """The rows of this file."""
    yield from _proxy()
    yield from _writer()
    yield from _at_the_end()
