"""The staged start: who waits, who is told so, and what a start that fails does to the others."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import requests

from harness.core.regions import BINARY_PREFIX, METRICS_PORT
from harness.core.wait import wait_until
from harness.engine.logs import LogLine

from .front import must, url
from .moments import MOMENTS, restarting, starting
from .row import EVERY, Row
from .rows_regions import ONE, THREE, kill
from .world import NAMES, World

PARALLEL = 2
PACE = {"FINFOCUS_START_PARALLEL": str(PARALLEL)}
FIRST, LAST = NAMES[0], NAMES[-1]
HUNG = NAMES[:PARALLEL]
FAIR_SECONDS = 10  # as image/supervisor/gate.lua has it
TAKEN = {"PORT": "8001", "FINFOCUS_PLUGIN_PORT": "9090"}  # of a region and of the metrics
WIDTH = 0.05  # seconds by which lines of two streams may come in the other order


@dataclass
class Overlap:
    """How many plugins parse at the same time, as their own lines say."""

    began: dict[str, float] = field(default_factory=dict)
    spans: list[tuple[float, float]] = field(default_factory=list)

    def take(self, line: LogLine) -> None:
        """Look at one line of the log."""
        message = (line.fields or {}).get("message")
        if message == "stand-in starting":
            self.began[line.region] = line.at
        elif message == "plugin started" and line.region in self.began:
            self.spans.append((self.began.pop(line.region), line.at - WIDTH))

    @property
    def most(self) -> int:
        """The most at any time."""
        return max((sum(a <= at < b for a, b in self.spans) for at, _ in self.spans), default=0)


def _watched(world: World) -> Overlap:
    overlap = Overlap()
    world.container.log.listen(overlap.take)
    return overlap


def _judge(world: World, overlap: Overlap, most: int, starts: int) -> None:
    world.note(f"at most {overlap.most} of {len(overlap.spans)} at a time")
    must(len(overlap.spans) == starts, f"{len(overlap.spans)} starts, {starts} are expected")
    must(overlap.most <= most, f"{overlap.most} regions parse at a time, {most} may")


def _staged(world: World) -> None:
    """First starts, then restarts of all."""
    overlap = _watched(world)
    world.start(30)
    _judge(world, overlap, PARALLEL, len(NAMES))
    kill("KILL", NAMES, world)
    world.container.log.wait_for(lambda: len(overlap.spans) >= 2 * len(NAMES), 30)
    world.await_ready(30)
    _judge(world, overlap, PARALLEL, 2 * len(NAMES))


def _at_once(world: World) -> None:
    overlap = _watched(world)
    world.start(30)
    must(overlap.most == len(NAMES), f"only {overlap.most} regions parse at a time")


def _told(world: World) -> None:
    """What clients, probes and scrapers learn while the last region waits."""
    world.start(0)
    wait_until(
        lambda: _readyz(world).get("starting") not in (None, []),
        timeout=10,
        interval=0.02,
        what="a region starts",
    )
    body = _readyz(world)
    must(LAST in body["waiting"], f"/readyz does not say that {LAST} waits: {body}")
    must(len(body["starting"]) <= PARALLEL + 1, f"/readyz: too many start: {body}")
    answer = requests.get(url(world, LAST), timeout=5)
    must(answer.status_code == 503, f"{LAST} answers {answer.status_code}")
    must(answer.json() == {"error": "region is starting", "region": LAST}, answer.text)
    states = _states(world)
    must(states[LAST] == "waiting", f"finfocus_region_state says that {LAST} is {states[LAST]}")
    must(states[FIRST] in {"starting", "ready"}, f"{FIRST} is {states[FIRST]}")
    world.await_ready(30)
    wait_until(
        lambda: set(_states(world).values()) == {"ready"},
        timeout=5,
        what="the metrics say that all are ready",
        explain=lambda: str(_states(world)),
    )
    must(not world.container.log.text_lines["-"], "a line of the container is no JSON")


def _readyz(world: World) -> dict[str, Any]:
    try:
        found: dict[str, Any] = requests.get(
            world.container.url(METRICS_PORT, "/readyz"), timeout=5
        ).json()
    except requests.RequestException:
        return {}
    return found


def _states(world: World) -> dict[str, str]:
    text = requests.get(world.container.url(METRICS_PORT, "/metrics"), timeout=5).text
    pattern = r'^finfocus_region_state\{finfocus_region="([^"]+)",state="(\w+)"\} 1$'
    return dict(re.findall(pattern, text, re.MULTILINE))


def _ready_while_slow(world: World) -> None:
    """A restart that is slow: the proxy's last word about the one before does not count."""
    kill("KILL", ONE, world)
    world.traffic.await_all_up(15, world.ending)
    said = [
        (line.fields or {})["ready_seconds"]
        for line in world.container.log.kept()[ONE[0]]
        if (line.fields or {}).get("message") == "region is ready"
    ]
    world.note(f"ready after {said[-1]:.2f} s")
    must(said[-1] >= 1, f"said to be ready {said[-1]:.2f} s after a start that takes a second")


def _hung(world: World) -> None:
    """As many regions as may start at a time never listen."""
    world.start(0)
    began = time.monotonic()
    wait_until(
        lambda: set(_readyz(world).get("not_ready", NAMES)) <= set(HUNG),
        timeout=FAIR_SECONDS + 10,
        what="every region that does not hang is ready",
        explain=lambda: f"not ready: {_readyz(world).get('not_ready')}",
    )
    world.note(f"the others are ready after {time.monotonic() - began:.1f} s")
    world.container.signal("SIGTERM")
    world.strike()


def _crashing(world: World) -> None:
    world.start(30)
    for name in THREE:
        world.await_ended(name, 1, 5)
        must(world.ends[name] == 2, f"{name} ended {world.ends[name]} times")
    others = {name for name in world.ends if name not in THREE}
    must(not others, f"{others} ended")


def _port(world: World) -> None:
    world.start()
    environ = world.shell(
        f"tr '\\0' '\\n' </proc/{world.pids(BINARY_PREFIX + ONE[0])[0]}/environ"
    ).splitlines()
    must("PORT=8001" in environ, "PORT does not reach the plugin as it was given")


def _staging() -> Iterator[Row]:
    yield Row(
        name="start-staged",
        requirement="SC-002",
        done=f"0.2 s for each start, FINFOCUS_START_PARALLEL={PARALLEL}; then all are killed",
        promised=f"at most {PARALLEL} parse price lists at a time, at first start and at restart",
        act=_staged,
        ready_seconds=0,
        environ={"STANDIN_START_DELAY": "200ms", **PACE},
    )
    yield Row(
        name="start-all-at-once",
        requirement="SC-002",
        done="1 s for each start, FINFOCUS_START_PARALLEL=0",
        promised="all regions parse their price lists at the same time",
        act=_at_once,
        ready_seconds=0,
        environ={"STANDIN_START_DELAY": "1s", "FINFOCUS_START_PARALLEL": "0"},
    )
    yield Row(
        name="start-told",
        requirement="FR-019",
        done=f"0.3 s for each start, {PARALLEL} at a time; clients send requests meanwhile",
        promised=(
            "a waiting region answers 503 `region is starting`; /readyz and the metrics distinguish"
            " waiting, starting and ready; every line of the container itself is JSON"
        ),
        act=_told,
        ready_seconds=0,
        environ={"STANDIN_START_DELAY": "300ms", **PACE},
    )
    yield Row(
        name="start-again-slow",
        requirement="FR-017",
        done="1 s for each start; one region is killed",
        promised="it is not reported ready before it is",
        act=_ready_while_slow,
        environ={"STANDIN_START_DELAY": "1s", "FINFOCUS_START_PARALLEL": "0"},
        hit=frozenset(ONE),
    )


def _failing() -> Iterator[Row]:
    yield Row(
        name="start-hung",
        requirement="SC-002",
        done=f"the first {PARALLEL} never listen; FINFOCUS_START_PARALLEL={PARALLEL}; then SIGTERM",
        promised=f"the others start after {FAIR_SECONDS} s; exits with code 0 within 5 s",
        act=_hung,
        ready_seconds=0,
        environ={"STANDIN_START_DELAY": ",".join(f"{name}=600s" for name in HUNG), **PACE},
        ends=True,
        hit=EVERY,
    )
    yield Row(
        name="start-crashes-of-three",
        requirement="FR-017",
        done="three regions crash at their first two starts; 0.3 s of CPU time for each start,"
        f" {PARALLEL} at a time",
        promised="the others start meanwhile; all become ready",
        act=_crashing,
        ready_seconds=0,
        environ={
            "STANDIN_CRASH_AT_START": ",".join(f"{name}=3" for name in THREE),
            "STANDIN_CRASH_TIMES": ",".join(f"{name}=2" for name in THREE),
            "STANDIN_START_CPU": "300ms",
            **PACE,
        },
    )
    for name, act, done in (
        ("start", starting, "a staged start, 0.1 s of CPU time for each region"),
        ("restart", restarting, "a restart of all regions"),
    ):
        yield Row(
            name=f"start-term-{MOMENTS}-moments-of-{name}",
            requirement="SC-003",
            done=f"SIGTERM at {MOMENTS} moments of {done}; a new container each time",
            promised="exits with code 0 within 5 s, every time",
            act=act,
            ready_seconds=0,
            ends=True,
        )


def _ports() -> Iterator[Row]:
    for order, words in (
        ("variable", "ignores --port, like v0.1.5"),
        ("flag", "ignores both variables"),
        ("both", "accepts both, like v0.1.6"),
    ):
        yield Row(
            name=f"start-port-{order}",
            requirement="FR-014",
            done=f"a plugin that {words}; PORT and FINFOCUS_PLUGIN_PORT are set on the container",
            promised="each listens on its own port; PORT reaches it unchanged",
            act=_port,
            ready_seconds=0,
            environ={"STANDIN_PORT_ORDER": order, **TAKEN},
        )


def rows() -> Iterator[Row]:
    """The rows of this file."""
    yield from _staging()
    yield from _failing()
    yield from _ports()
