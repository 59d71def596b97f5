"""Who reads the container's stdout: nobody for a while, nobody any more, somebody slow."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from .row import EVERY, RESTARTS, Row
from .rows_regions import ONE
from .world import World

LOUD = {"STANDIN_LOG_FLOOD_RATE": "200", "STANDIN_LOG_FLOOD_SIZE": "500"}
UNREAD = "nothing reads them"


def _blocked(seconds: float, world: World) -> None:
    world.reader.pause()
    world.container.dead.wait(seconds)
    world.strike()
    world.reader.resume()


def _blocked_and_killed(world: World) -> None:
    """Nobody reads while the log writer is killed twice."""
    world.reader.pause()
    for _ in range(2):
        world.container.dead.wait(1)
        world.send("KILL", "logmux.lua")
    world.container.dead.wait(1)
    world.strike()
    world.reader.resume()


def _blocked_and_stopped(world: World) -> None:
    world.reader.pause()
    world.container.dead.wait(2)
    world.container.signal("SIGTERM")
    world.strike()


def _blocked_and_crashing(world: World) -> None:
    world.reader.pause()
    world.container.dead.wait(2)
    for _ in range(RESTARTS + 1):
        if not world.container.dead.wait(1.2):
            world.send_regions("KILL", ONE)
    world.container.dead.wait(8)


def _closed(world: World) -> None:
    world.reader.close()
    world.strike()
    world.container.wait_dead(20)


def _slow(world: World) -> None:
    for _ in range(40):
        world.reader.pause()
        world.container.dead.wait(0.07)
        world.reader.resume()
        world.container.dead.wait(0.005)
    world.strike()


def rows() -> Iterator[Row]:
    """The rows of this file."""
    for seconds in (3, 60):
        yield Row(
            name=f"stdout-blocked-{seconds}-s",
            requirement="FR-013",
            done=f"nothing reads stdout for {seconds} s while each region logs 100 kB/s",
            promised="no line is lost or torn, no request fails, nothing is restarted",
            act=partial(_blocked, seconds),
            environ=LOUD,
            fifo=True,
        )
    yield Row(
        name="stdout-slow",
        requirement="FR-013",
        done="stdout is read slowly while each region logs 100 kB/s",
        promised="no line is lost or torn, no request fails",
        act=_slow,
        environ=LOUD,
        fifo=True,
    )
    yield Row(
        name="stdout-blocked-log-writer-kill-9",
        requirement="FR-013",
        done="nothing reads stdout for 3 s; kill -9 of the log writer, twice",
        promised="no line is lost or torn, no request fails",
        act=_blocked_and_killed,
        doubles_lines=True,
        environ=LOUD,
        fifo=True,
    )
    yield Row(
        name="stdout-blocked-term",
        requirement="SC-003",
        done="nothing reads stdout; SIGTERM",
        promised="exits with code 0 within 5 s",
        act=_blocked_and_stopped,
        environ=LOUD,
        hit=EVERY,
        ends=True,
        fifo=True,
        loses_lines=UNREAD,
    )
    yield Row(
        name="stdout-blocked-fourth-kill",
        requirement="FR-017",
        done=f"nothing reads stdout; one region is killed {RESTARTS + 1} times",
        promised="the container exits with code 1",
        act=_blocked_and_crashing,
        environ=LOUD,
        hit=EVERY,
        ends=True,
        exit_code=1,
        stop_seconds=10,
        fifo=True,
        loses_lines=UNREAD,
    )
    yield Row(
        name="stdout-closed",
        requirement="FR-013",
        done="the reader of stdout closes its end for good",
        promised="the container exits with code 1, because its log would be lost",
        act=_closed,
        hit=EVERY,
        ends=True,
        exit_code=1,
        stop_seconds=10,
        fifo=True,
        loses_lines=UNREAD,
    )
