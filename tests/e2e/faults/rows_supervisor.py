"""Faults of what the supervisor relies on: its wake-ups, its files, its own life."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from functools import partial

from harness.core.regions import BINARY_PREFIX
from harness.core.wait import wait_until

from .front import must
from .row import EVERY, Row
from .rows_regions import BACK, ONE, kill
from .seam import with_lua
from .world import NAMES, World

STORM_SECONDS, STORM = 3, ("HUP", "QUIT", "USR1", "USR2", "ALRM", "PIPE", "CHLD", "CONT")
ORPHANS = 200
IDLE_SECONDS, IDLE_PERCENT = 3, 10.0  # what the supervisor may take with nothing to do; a spin: 100
TICKS = 100  # a second, in proc(5)
SEEN_SECONDS = 2.0  # an end that nothing tells of is seen at the next look, 0.25 s later at most
STATE = "/dev/shm/finfocus.*"
# Every name that the supervisor does not know, numbers where there are none, no line end.
GARBAGE = r"printf 'mars 1 L7OK\nus-east-1 x\n\377\376\n%01000d' 0"

# The supervisor with a `poll` that sees no descriptor.
DEAF = """
local poll = require "posix.poll"
local real = poll.poll
function poll.poll(_, milliseconds)
  return real({}, milliseconds)
end
"""


def _storm(world: World) -> None:
    """Signals without a pause, from inside; one region is killed meanwhile."""
    pid = world.supervisor()
    signals = "; ".join(f"kill -{name} {pid}" for name in STORM)
    until = f"end=$((SECONDS + {STORM_SECONDS})); while ((SECONDS < end))"
    world.in_background(f"{until}; do {signals}; done")
    kill("KILL", ONE, world)
    world.traffic.await_all_up(10, world.ending)
    world.container.dead.wait(STORM_SECONDS)


def _processor_percent(world: World, pid: int, seconds: float) -> float:
    """Share of a core that process `pid` takes; proc(5), stat, fields 14 and 15."""
    script = f"set -- $(</proc/{pid}/stat); echo $((${{14}} + ${{15}}))"
    before, began = int(world.shell(script)), time.monotonic()
    world.container.dead.wait(seconds)
    used = int(world.shell(script)) - before
    return used / TICKS / (time.monotonic() - began) * 100


def _lifelines_closed(world: World) -> None:
    for name in NAMES:
        world.order(name, "lifeline")
    percent = _processor_percent(world, world.supervisor(), IDLE_SECONDS)
    world.note(f"the supervisor takes {percent:.1f} % of a core")
    must(percent < IDLE_PERCENT, f"the supervisor takes {percent:.0f} % of a core")
    _ends_unseen(world)


def _lifelines_inherited(world: World) -> None:
    for name in NAMES:
        world.order(name, "grandchild&lifetime=60s&setsid=true&stubborn=true")
    _ends_unseen(world)


def _ends_unseen(world: World) -> None:
    """Every region is killed, and no pipe tells of it."""
    world.strike()
    before = dict(world.ends)
    world.send("KILL", BINARY_PREFIX)
    for name in NAMES:
        world.await_ended(name, before.get(name, 0), SEEN_SECONDS)


def _orphans(world: World) -> None:
    world.shell(f"for ((i = 0; i < {ORPHANS}; i++)); do (true & true & true &) ; done")
    wait_until(
        lambda: not world.shell(r"grep -sl '^State:[[:space:]]*Z' /proc/[0-9]*/status || true"),
        timeout=5,
        what="every process without a parent is reaped",
    )
    must(not world.ends, f"orphans were taken for parts: {dict(world.ends)}")


def _events_flood(world: World) -> None:
    """Wake-ups as fast as they can be written; kill one, then SIGTERM by the row's end."""
    for _ in range(2):
        world.in_background(f"exec cat /dev/zero >$(echo {STATE}/events)")
    kill("KILL", ONE, world)
    world.traffic.await_all_up(10, world.ending)
    must(not world.ending(), "the container ends")


def _events_flood_term(world: World) -> None:
    world.in_background(f"exec cat /dev/zero >$(echo {STATE}/events)")
    world.container.dead.wait(0.5)
    world.container.signal("SIGTERM")
    world.strike()


def _garbage(name: str, world: World) -> None:
    world.shell(f"{GARBAGE} >$(echo {STATE}/{name})")
    kill("KILL", ONE, world)
    world.traffic.await_all_up(6, world.ending)
    must(world.metrics_status("/metrics") == 200, "/metrics does not answer")
    wait_until(lambda: world.metrics_status("/readyz") == 200, timeout=5, what="/readyz says yes")
    # What was written over garbage is right again.
    kill("STOP", ONE, world)


def _removed(world: World) -> None:
    world.shell(f"rm {STATE}/state {STATE}/health")
    kill("KILL", ONE, world)
    world.traffic.await_all_up(6, world.ending)
    must(world.metrics_status("/livez") == 503, "/livez says that all is well")


def _directory_removed(world: World) -> None:
    world.shell(f"rm -r {STATE}")
    world.send_regions("KILL", ONE)
    world.container.wait_dead(20)


def _supervisor_dies(world: World) -> None:
    pid = world.supervisor()
    world.strike()
    world.in_background(f"kill -KILL {pid}")  # the container's end may kill this command too
    world.container.wait_dead(10)


def _supervisor_stopped(world: World) -> None:
    """With an init in front: SIGSTOP reaches no process 1."""
    pid = world.supervisor()
    plugin = world.pids(BINARY_PREFIX + ONE[0])[0]
    world.shell(f"kill -STOP {pid}; kill -KILL {plugin}; sleep 2; kill -CONT {pid}")
    world.await_ended(ONE[0], 0)


def _status(world: World) -> None:
    table = json.loads(world.shell("/opt/finfocus/status --json"))["processes"]
    states = {row["name"]: row["state"] for row in table}
    must(set(states) == {*NAMES, "proxy", "log-writer"}, f"{sorted(states)}")
    must(set(states.values()) == {"ready"}, f"{states}")
    kill("KILL", ONE, world)
    world.traffic.await_all_up(6, world.ending)
    again = json.loads(world.shell("/opt/finfocus/status --json"))["processes"]
    one = next(row for row in again if row["name"] == ONE[0])
    must((one["starts"], one["failures"]) == (2, 1), f"{one}")


def _lost_terms(world: World) -> None:
    world.container.signal("SIGTERM")
    world.strike()


def _wake_ups() -> Iterator[Row]:
    yield Row(
        name="supervisor-not-woken",
        requirement="FR-017",
        done="only its own timer wakes the supervisor; all regions are killed",
        promised=f"seen within {SEEN_SECONDS:g} s; all restart; exits with code 0 within 5 s",
        act=_ends_unseen,
        extra=with_lua(DEAF),
        hit=EVERY,
        recovers=6.0,
    )
    yield Row(
        name="supervisor-signal-storm",
        requirement="SC-003",
        done=(
            f"{', '.join(STORM)} to the supervisor without a pause for {STORM_SECONDS} s;"
            " one region is killed"
        ),
        promised=f"it {BACK}",
        act=_storm,
        hit=frozenset(ONE),
    )
    for name, done, act in (
        ("closed", "every plugin closes its end of the lifeline", _lifelines_closed),
        ("inherited", "a grandchild of every plugin holds its lifeline", _lifelines_inherited),
    ):
        yield Row(
            name=f"supervisor-lifeline-{name}",
            requirement="FR-017",
            done=f"{done}; all regions are killed",
            promised=f"seen within {SEEN_SECONDS:g} s; all restart; the supervisor does not spin",
            act=act,
            hit=EVERY,
            recovers=6.0,
        )
    yield Row(
        name="supervisor-events-flooded",
        requirement="FR-017",
        done="two processes wake the supervisor at full speed; one region is killed",
        promised=f"it {BACK}",
        act=_events_flood,
        hit=frozenset(ONE),
    )
    yield Row(
        name="supervisor-events-flooded-term",
        requirement="SC-003",
        done="a process wakes the supervisor at full speed; SIGTERM",
        promised="exits with code 0 within 5 s",
        act=_events_flood_term,
        hit=EVERY,
        ends=True,
    )
    yield Row(
        name="supervisor-orphans",
        requirement="SC-003",
        done=f"{ORPHANS * 3} processes become orphans",
        promised="each is reaped",
        act=_orphans,
    )
    yield Row(
        name="supervisor-terms-lost",
        requirement="SC-003",
        done="SIGTERM; every region loses the first two it receives",
        promised="SIGTERM is repeated: exits with code 0 within 2 s, no region is killed",
        act=_lost_terms,
        environ={"STANDIN_SIGTERM_LOST": "2"},
        hit=EVERY,
        ends=True,
        stop_seconds=2,
    )


def _files() -> Iterator[Row]:
    acts: tuple[tuple[str, str, Callable[[World], None]], ...] = (
        ("health", "the proxy's reports to the supervisor", partial(_garbage, "health")),
        ("state", "the supervisor's reports to the proxy", partial(_garbage, "state")),
    )
    for name, words, act in acts:
        yield Row(
            name=f"supervisor-{name}-garbage",
            requirement="FR-017",
            done=f"garbage in the file with {words}; one region is killed, then hangs",
            promised=f"both failures are noticed; it {BACK}",
            act=act,
            environ={"FINFOCUS_UNHEALTHY_SECONDS": "1"},
            hit=frozenset(ONE),
        )
    yield Row(
        name="supervisor-files-removed",
        requirement="FR-017",
        done="the files between supervisor and proxy are removed; one region is killed",
        promised=f"it {BACK}; /livez answers 503, so that Kubernetes restarts the container",
        act=_removed,
        hit=frozenset(ONE),
    )
    yield Row(
        name="supervisor-directory-removed",
        requirement="FR-017",
        done="the state directory is removed; one region is killed",
        promised="it cannot be restarted: the container exits with code 1 and names it",
        act=_directory_removed,
        hit=EVERY,
        ends=True,
        exit_code=1,
        stop_seconds=10,
        last_words=f"{ONE[0]} failed again",
        loses_lines="the streams are gone",
    )
    yield Row(
        name="supervisor-status",
        requirement="FR-017",
        done="/opt/finfocus/status --json, before and after a kill",
        promised="lists every region and part with its state, starts and failures",
        act=_status,
        hit=frozenset(ONE),
    )


def _own_life() -> Iterator[Row]:
    yield Row(
        name="supervisor-kill-9-with-init",
        requirement="FR-017",
        done="kill -9 of the supervisor, under `docker run --init`",
        promised="the container exits at once with code 137; no process is left",
        act=_supervisor_dies,
        extra={"init": True},
        hit=EVERY,
        ends=True,
        exit_code=137,
        loses_lines="the log writer is killed too",
    )
    yield Row(
        name="supervisor-stop-cont-with-init",
        requirement="FR-017",
        done="SIGSTOP to the supervisor for 2 s, with `--init`; one region is killed meanwhile",
        promised=f"it {BACK}",
        act=_supervisor_stopped,
        extra={"init": True},
        hit=frozenset(ONE),
    )


def rows() -> Iterator[Row]:
    """The rows of this file."""
    yield from _wake_ups()
    yield from _files()
    yield from _own_life()
