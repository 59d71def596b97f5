"""Faults of the plugins: in one region, in three, in all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from harness.core.errors import HarnessError
from harness.core.regions import BINARY_PREFIX

from .row import EVERY, RESTARTS, Row
from .soak import ENVIRON as SOAK
from .soak import soaked
from .world import NAMES, World

ONE = ("ap-southeast-2",)
THREE = ("us-east-1", "ap-south-1", "us-west-1")
GROUPS: dict[str, tuple[str, ...]] = {"one": ONE, "three": THREE, "all": NAMES}
WHICH = {"one": "one region", "three": "three regions", "all": "all regions"}
BACK = "restarts; the others answer every request"


def kill(signal: str, regions: tuple[str, ...], world: World) -> None:
    """Send `signal` to the plugins of `regions`; returns when the supervisor saw them end."""
    before = dict(world.ends)
    world.send_regions(signal, regions)
    for name in regions:
        world.await_ended(name, before.get(name, 0))


def order(kind: str, regions: tuple[str, ...], world: World, timeout: float = 10) -> None:
    """Order a fault that ends the plugins of `regions`; returns when it has."""
    before = dict(world.ends)
    for name in regions:
        world.order(name, kind)
    for name in regions:
        world.await_ended(name, before.get(name, 0), timeout)


def _die_mid_line(regions: tuple[str, ...], world: World) -> None:
    """The half line must not take the first line of the next process with it."""
    before = world.starts.copy()
    order("die-mid-line&code=SIGKILL", regions, world)
    if not world.container.log.wait_for(
        lambda: all(world.starts[name] > before[name] for name in regions), 5
    ):
        raise HarnessError(f"no whole line says that {', '.join(regions)} started again")


def _values(regions: tuple[str, ...], value: str) -> str:
    return value if regions == NAMES else ",".join(f"{name}={value}" for name in regions)


DEATHS: dict[str, tuple[str, Callable[[tuple[str, ...], World], None]]] = {
    "kill-9": ("kill -9", partial(kill, "KILL")),
    "segfault": ("SIGSEGV", partial(kill, "SEGV")),
    "exit-0": ("exit code 0", partial(order, "crash&code=0")),
    "exit-1": ("exit code 1", partial(order, "crash&code=1")),
    "panic": ("panic with a stack trace", partial(order, "crash&code=panic")),
    "half-line": ("kill -9 in the middle of a log line", _die_mid_line),
}


def _deaths() -> Iterator[Row]:
    for death, (words, act) in DEATHS.items():
        for group, regions in GROUPS.items():
            yield Row(
                name=f"region-{death}-{group}",
                requirement="FR-017",
                done=f"{WHICH[group]}: {words}",
                promised=f"{'it' if group == 'one' else 'each'} {BACK}",
                act=partial(act, regions),
                hit=frozenset(regions),
                recovers=6.0,
            )


HANGS: dict[str, tuple[str, Callable[[tuple[str, ...], World], None]]] = {
    "stop": ("SIGSTOP", partial(kill, "STOP")),
    "hang": ("connections accepted, requests never answered", partial(order, "hang")),
    "close": ("every connection closed", partial(order, "close")),
    "health-500": ("health check answers 500", partial(order, "health&mode=500")),
}


def _hangs() -> Iterator[Row]:
    for hang, (words, act) in HANGS.items():
        for group in ("one", "all") if hang == "stop" else ("one",):
            yield Row(
                name=f"region-{hang}-{group}",
                requirement="FR-017",
                done=f"{WHICH[group]}: {words}; FINFOCUS_UNHEALTHY_SECONDS=1",
                promised=f"killed after that time, then {BACK}",
                act=partial(act, GROUPS[group]),
                hit=frozenset(GROUPS[group]),
                environ={"FINFOCUS_UNHEALTHY_SECONDS": "1"},
            )


def _start_and_end(world: World) -> None:
    world.start(0)
    world.container.wait_dead(20)


def _crash_loops() -> Iterator[Row]:
    for group, regions in GROUPS.items():
        yield Row(
            name=f"region-crash-loop-{group}",
            requirement="FR-017",
            done=f"{WHICH[group]}: exit code 3 at every start",
            promised=(
                f"{RESTARTS + 1} starts, then the container exits with code 1; the last line says"
                " why"
            ),
            act=_start_and_end,
            ready_seconds=0,
            ends=True,
            exit_code=1,
            stop_seconds=15,
            environ={"STANDIN_CRASH_AT_START": _values(regions, "3")},
            last_words=f"failed again after {RESTARTS} restarts",
        )
        yield Row(
            name=f"region-crash-thrice-{group}",
            requirement="FR-017",
            done=f"{WHICH[group]}: crash at the first {RESTARTS} starts",
            promised="the last start in the budget succeeds, within 10 s (SC-002)",
            act=lambda world: world.start(12),
            ready_seconds=0,
            environ={
                "STANDIN_CRASH_AT_START": _values(regions, "3"),
                "STANDIN_CRASH_TIMES": f"{RESTARTS}",
            },
        )


def _slow_starts() -> Iterator[Row]:
    for group, regions in GROUPS.items():
        yield Row(
            name=f"region-slow-start-{group}",
            requirement="SC-002",
            done=f"{WHICH[group]}: 3 s from start to listening",
            promised="ready soon after that; nothing is restarted",
            act=_slow_start,
            ready_seconds=0,
            environ={"STANDIN_START_DELAY": _values(regions, "3s")},
        )
    yield Row(
        name="region-busy-start-all",
        requirement="SC-002",
        done="all regions: 200 ms of CPU time before listening",
        promised="ready; nothing is restarted",
        act=_slow_start,
        ready_seconds=0,
        environ={"STANDIN_START_CPU": "200ms"},
    )


def _slow_start(world: World) -> None:
    world.start(30)
    if world.said("exited (code"):
        world.container.signal("SIGKILL")


def _fourth_kill(world: World) -> None:
    for _ in range(RESTARTS + 1):
        kill("KILL", ONE, world)
        world.traffic.await_all_up(6, world.ending)
    world.container.wait_dead(10)


def _stable_kills(world: World) -> None:
    for _ in range(5):
        kill("KILL", ONE, world)
        world.traffic.await_all_up(6, world.ending)
        if world.ending():
            world.container.wait_dead(10)
            world.container.expect_alive()
        started = world.pids(BINARY_PREFIX + ONE[0])
        world.shell(f"sleep 1.5; kill -0 {started[0]}")


def _budgets() -> Iterator[Row]:
    one = frozenset(ONE)
    yield Row(
        name="region-fourth-kill",
        requirement="FR-017",
        done=f"one region: killed {RESTARTS + 1} times, each time as soon as it answers",
        promised=f"{RESTARTS} restarts, then the container exits with code 1 and names the region",
        act=_fourth_kill,
        hit=one,
        ends=True,
        exit_code=1,
        last_words=f"{ONE[0]} failed again after {RESTARTS} restarts",
    )
    yield Row(
        name="region-killed-when-stable",
        requirement="FR-017",
        done="one region: killed five times, a second apart; FINFOCUS_STABLE_SECONDS=1",
        promised=f"each time it {BACK}; its restart count resets",
        act=_stable_kills,
        hit=one,
        environ={"FINFOCUS_STABLE_SECONDS": "1"},
    )
    yield Row(
        name="region-restarts-240",
        requirement="FR-017",
        done="all regions: killed as soon as they answer, 240 kills; FINFOCUS_STABLE_SECONDS=0",
        promised="no memory, file, FIFO or process leaks",
        act=partial(soaked, 240),
        hit=EVERY,
        environ=SOAK,
    )


def rows() -> Iterator[Row]:
    """The rows of this file."""
    yield from _deaths()
    yield from _hangs()
    yield from _crash_loops()
    yield from _slow_starts()
    yield from _budgets()
