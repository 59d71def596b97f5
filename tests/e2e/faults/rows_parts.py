"""Faults of the container's own parts: proxy, log writer, and the helpers of PID 1."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

from harness.wait import wait_until

from .row import EVERY, Row
from .rows_regions import ONE, kill
from .world import World

PROXY, WRITER, WATCHER, TIMER = "haproxy", "logmux.lua", "watcher", "sleep"
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
    _hit("KILL", word, 3, world)
    world.send("KILL", word)
    world.container.wait_dead(10)


def _proxy() -> Iterator[Row]:
    back = "started again at once; requests fail no longer than that takes"
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
            fast=name == "kill-9",
        )
    yield Row(
        name="proxy-stop",
        requirement="FR-017",
        done="SIGSTOP to the proxy",
        promised=f"found within {SEEN_SECONDS} s, killed and started again",
        act=partial(_hit, "STOP", PROXY, 1),
        hit=EVERY,
        recovers=SEEN_SECONDS + 3,
    )
    yield Row(
        name="proxy-killed-too-often",
        requirement="FR-017",
        done="kill -9 of the proxy, four times",
        promised="the container stops with code 1; the last line names the proxy",
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
            promised="another takes its place; no line is lost or torn; no request fails",
            act=partial(_hit, signal, WRITER, times),
            doubles_lines=True,
            fast=name in {"kill-9", "stop"},
        )
    yield Row(
        name="log-writer-term",
        requirement="FR-013",
        done="SIGTERM, SIGINT and SIGHUP to the log writer",
        promised="it goes on: it ends when its last stream does",
        act=_writer_told_to_end,
    )
    yield Row(
        name="log-writer-killed-too-often",
        requirement="FR-017",
        done="kill -9 of the log writer, four times",
        promised="the container stops with code 1; the last line names the log writer",
        act=partial(_hit_to_death, WRITER),
        doubles_lines=True,
        hit=EVERY,
        ends=True,
        exit_code=1,
        last_words="log-writer failed again",
    )


def _watcher() -> Iterator[Row]:
    for signal in ("KILL", "TERM"):
        yield Row(
            name=f"watcher-{signal.lower()}",
            requirement="FR-017",
            done=f"SIG{signal} to the health watcher, then a region hangs",
            promised="another watches: the region is killed and comes back",
            act=partial(_watcher_ends, signal),
            hit=frozenset(ONE),
            environ={"FINFOCUS_UNHEALTHY_SECONDS": "1"},
            fast=signal == "KILL",
        )
    yield Row(
        name="watcher-stop",
        requirement="FR-017",
        done="SIGSTOP to the health watcher",
        promised="all regions serve, /livez says no, and the container stops in time",
        act=_watcher_stops,
    )


def _watcher_ends(signal: str, world: World) -> None:
    before = world.pids(WATCHER)
    world.send(signal, WATCHER)
    wait_until(
        lambda: world.pids(WATCHER) not in ([], before), timeout=5, what="another watcher runs"
    )
    kill("STOP", ONE, world)


def _watcher_stops(world: World) -> None:
    world.send("STOP", WATCHER)
    wait_until(
        lambda: world.metrics_status("/livez") == 503,
        timeout=5,
        what="/livez says that the watcher is stopped",
    )


def _timer(signal: str, world: World) -> None:
    """Kill a region three times, so that its timer runs long enough to be hit."""
    for _ in range(2):
        kill("KILL", ONE, world)
        world.traffic.await_all_up(6, world.ending)
    kill("KILL", ONE, world)
    world.send(signal, TIMER)
    if signal == "STOP":
        world.send("CONT", TIMER)


def _timers() -> Iterator[Row]:
    yield Row(
        name="timer-kill-9",
        requirement="FR-017",
        done="one waits for its third restart; kill -9 of the timer",
        promised="the region starts at once",
        act=partial(_timer, "KILL"),
        hit=frozenset(ONE),
    )
    yield Row(
        name="timer-stop-cont",
        requirement="FR-017",
        done="one waits for its third restart; SIGSTOP, then SIGCONT to the timer",
        promised="the region starts",
        act=partial(_timer, "STOP"),
        hit=frozenset(ONE),
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
    for part, word in (("proxy", PROXY), ("log-writer", WRITER), ("watcher", WATCHER)):
        yield Row(
            name=f"{part}-stopped-then-term",
            requirement="SC-003",
            done=f"SIGSTOP to the {part}, SIGTERM to the container at once",
            promised="gone in 3 s with code 0, no line lost",
            act=partial(_stopped_before, word),
            hit=EVERY,
            ends=True,
            stop_seconds=3,  # less than FINFOCUS_STOP_SECONDS: it is continued, not killed
            fast=part == "log-writer",
        )
    for part, word in (("proxy", PROXY), ("log-writer", WRITER), ("kill-timer", TIMER)):
        for signal in ("KILL", "STOP"):
            yield Row(
                name=f"{part}-{signal.lower()}-during-stop",
                requirement="SC-003",
                done=f"SIG{signal} to the {part} while the container stops",
                promised="gone in 5 s with code 0, no line lost",
                act=partial(_at_stop, word, signal),
                doubles_lines=word == WRITER,
                hit=EVERY,
                ends=True,
                fast=(part, signal) == ("log-writer", "KILL"),
            )


def rows() -> Iterator[Row]:
    """The rows of this file."""
    yield from _proxy()
    yield from _writer()
    yield from _watcher()
    yield from _timers()
    yield from _at_the_end()
