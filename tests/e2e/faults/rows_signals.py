"""Signals to the container: every kind in every state."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import requests

from harness.core.wait import wait_until

from .front import must, url
from .row import EVERY, Row
from .rows_regions import ONE, kill
from .world import PROXY, World

STOPS = ("TERM", "INT")
OTHERS = ("HUP", "QUIT", "USR1")
BURST = 20
AGAIN_SECONDS = 1  # far more than process 1 needs for its handlers


def _at_once(signal: str, world: World) -> None:
    """Repeat a stop: Linux discards what comes before process 1 has a handler (pid_namespaces(7)).

    A unit test on this machine sends a single signal as soon as there is a handler.
    """
    world.start(0)
    _send(signal, world)
    end = time.monotonic() + AGAIN_SECONDS
    while signal in STOPS and time.monotonic() < end and not world.container.dead.wait(0.01):
        world.container.signal(f"SIG{signal}")


def _starting(signal: str, world: World) -> None:
    world.start(0)
    world.container.log.wait_for(lambda: world.container.log.lines > 0, 10)
    _send(signal, world)


def _ready(signal: str, world: World) -> None:
    _send(signal, world)


def _in_backoff(signal: str, world: World) -> None:
    kill("KILL", ONE, world)
    _send(signal, world)


def _proxy_down(signal: str, world: World) -> None:
    world.send("KILL", PROXY)
    _send(signal, world)


def _burst(signal: str, world: World) -> None:
    _send(signal, world)
    for _ in range(BURST - 1):
        if not world.container.dead.is_set():
            world.container.signal(f"SIG{signal}")


def _stopping(signal: str, world: World) -> None:
    world.order(ONE[0], "sigterm&delay=1s")
    world.container.signal("SIGTERM")
    world.strike()
    world.await_said(f"stopping {len(EVERY)} regions")
    world.container.signal(f"SIG{signal}")


def _send(signal: str, world: World) -> None:
    world.container.signal(f"SIG{signal}")
    world.strike()


def _announced(world: World) -> None:
    with requests.Session() as client:
        address = url(world, ONE[0], "/healthz")

        def is_ended() -> bool:
            return client.get(address, timeout=10).headers.get("Connection") == "close"

        must(not is_ended(), "a connection ends although no stop was announced")
        _send("USR2", world)
        wait_until(is_ended, timeout=5, interval=0.01, what="a kept connection ends")


@dataclass(frozen=True)
class State:
    """A state the container is in when the signal comes."""

    words: str
    act: Callable[[str, World], None]
    running: bool  # ready and with requests
    stops: bool = False  # it stops whatever the signal


STATES = {
    "at-once": State(
        "as soon as the container starts (a stop: repeatedly)", _at_once, running=False
    ),
    "starting": State("at the first log line", _starting, running=False),
    "ready": State("when all regions are ready", _ready, running=True),
    "backoff": State("while one region waits for its restart", _in_backoff, running=True),
    "proxy-down": State("just after the proxy was killed", _proxy_down, running=True),
    "burst": State(f"{BURST} times, when all regions are ready", _burst, running=True),
    "stopping": State("while the container stops", _stopping, running=True, stops=True),
}


def _row(signal: str, name: str, state: State) -> Row:
    stops = signal in STOPS or state.stops
    return Row(
        name=f"signal-{signal.lower()}-{name}",
        requirement="SC-003",
        done=f"SIG{signal} {state.words}",
        promised="exits with code 0 within 5 s" if stops else "no effect; a later SIGTERM stops it",
        act=partial(state.act, signal),
        hit=EVERY if stops or name == "proxy-down" else frozenset(ONE if name == "backoff" else ()),
        ends=stops,
        ready_seconds=10 if state.running else 0,
    )


def rows() -> Iterator[Row]:
    """The rows of this file."""
    for name, state in STATES.items():
        for signal in (*STOPS, *OTHERS):
            if name != "proxy-down" or signal in STOPS:
                yield _row(signal, name, state)
    yield Row(
        name="signal-usr2-with-init",
        requirement="SC-003",
        done="SIGUSR2 while a client keeps a connection, under `docker run --init`",
        promised="the connection ends with a response; a later SIGTERM stops it",
        act=_announced,
        extra={"init": True},
    )
    for signal in (*OTHERS, "ALRM", "PIPE"):
        yield Row(
            name=f"signal-{signal.lower()}-with-init",
            requirement="SC-003",
            done=f"SIG{signal} when all regions are ready, under `docker run --init`",
            promised="no effect; a later SIGTERM stops it",
            act=partial(_ready, signal),
            extra={"init": True},
        )
    for signal in STOPS:
        yield Row(
            name=f"signal-{signal.lower()}-with-init",
            requirement="SC-003",
            done=f"SIG{signal} when all regions are ready, under `docker run --init`",
            promised="exits with code 0 within 5 s",
            act=partial(_ready, signal),
            extra={"init": True},
            hit=EVERY,
            ends=True,
        )
