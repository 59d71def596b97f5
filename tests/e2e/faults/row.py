"""One row of the fault table, and how it is run and judged."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import docker

from harness.core.errors import ContainerDiedError, HarnessError

from .world import NAMES, READY_SECONDS, World, world_of

STOP_SECONDS = 5.0  # SC-003
EVERY = frozenset(NAMES)
NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Row:
    """What is done to the container and what it promises."""

    name: str
    requirement: str  # "FR-017"
    done: str
    promised: str
    act: Callable[[World], None]
    hit: frozenset[str] = NONE  # regions whose requests may fail meanwhile
    recovers: float = 10.0  # seconds in which all regions answer again
    ends: bool = False  # the container ends by itself, or by what `act` does
    exit_code: int = 0
    stop_seconds: float = STOP_SECONDS
    ready_seconds: float = READY_SECONDS  # 0: `act` waits itself
    environ: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)  # docker-py's names
    fifo: bool = False  # stdout is a FIFO, which `World.reader` reads
    last_words: str = ""  # what the last log line has in it
    fast: bool = False  # part of the default test run
    full_size: bool = False  # of an image with price lists of the real size
    doubles_lines: bool = False  # the lines of one write may come twice
    killed_at_stop: int = 0  # regions that may have to be killed when the container stops
    loses_lines: str = ""  # why lines may be lost, "" when none may


@dataclass(kw_only=True)
class Outcome:
    """What was measured."""

    row: Row
    problems: list[str] = field(default_factory=list)
    requests: int = 0
    others_failed: int = 0
    failed: int = 0
    recovery: float | None = None
    lines: int = 0
    lost: int = 0
    doubled: int = 0
    exit_code: int | None = None
    stop: float | None = None
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def kept(self) -> bool:
        """Whether the row's promise was kept."""
        return not self.problems

    def expect(self, condition: object, problem: str) -> None:
        """Note `problem` unless `condition` holds."""
        if not condition:
            self.problems.append(problem)


def run_row(client: docker.DockerClient, image: str, row: Row) -> Outcome:
    """Run one row on a container of its own and judge it; never raises for a broken promise."""
    outcome, began = Outcome(row=row), time.monotonic()
    with world_of(client, image, row.environ, row.extra, fifo=row.fifo) as world:
        try:
            _act(world, row, outcome)
            _end(world, row, outcome)
        except ContainerDiedError as error:
            outcome.problems.append(_first_lines(str(error)))
        except HarnessError as error:
            outcome.problems.append(str(error))
        except Exception as error:
            outcome.problems.append(f"{type(error).__name__}: {error}")
        _measure(world, row, outcome)
    outcome.seconds = time.monotonic() - began
    return outcome


def _first_lines(obituary: str) -> str:
    """What the engine and the container's own parts say, without the regions' lines."""
    return obituary.partition("\nlast lines of ap")[0]


def _act(world: World, row: Row, outcome: Outcome) -> None:
    if row.ready_seconds:
        world.start(row.ready_seconds)
        world.traffic.start()
        world.traffic.await_all_up(5, world.container.dead.is_set)
    world.strike()
    row.act(world)
    if row.ends:
        return
    if not world.traffic.requests:
        world.await_ready(READY_SECONDS)
        world.traffic.start()
    missing = world.traffic.await_all_up(row.recovers, world.container.dead.is_set)
    world.container.expect_alive()
    outcome.expect(not missing, f"no answer {row.recovers:g} s later: {', '.join(missing)}")
    world.traffic.stop()
    outcome.recovery = world.recovery_seconds()
    outcome.expect(
        outcome.recovery <= row.recovers,
        f"requests failed for {outcome.recovery:.2f} s, promised are {row.recovers:g} s",
    )


def _end(world: World, row: Row, outcome: Outcome) -> None:
    container = world.container
    sent = world.struck_at if row.ends else container.signal("SIGTERM")
    if not container.wait_dead(row.stop_seconds + 5):
        outcome.problems.append(f"it still runs {row.stop_seconds + 5:g} s later")
        top = container.container.top(ps_args="-eo pid,stat,args").get("Processes") or []
        outcome.notes.append("; ".join(" ".join(process[1:])[:60] for process in top))
        container.signal("SIGKILL")
        container.wait_dead(10)
        return
    outcome.stop = container.exit_time() - sent
    outcome.expect(
        outcome.stop <= row.stop_seconds,
        f"gone after {outcome.stop:.2f} s, promised are {row.stop_seconds:g} s",
    )


def _measure(world: World, row: Row, outcome: Outcome) -> None:
    if world.traffic.requests and row.ends:
        world.traffic.stop()
    for reader in world.readers:
        reader.close()
    log, traffic, numbered = world.container.log, world.traffic, world.numbered
    outcome.notes.extend(world.notes)
    outcome.requests = traffic.requests.total()
    outcome.failed = traffic.failures.total()
    outcome.lines, outcome.lost, outcome.doubled = log.lines, numbered.lost, numbered.doubled
    outcome.exit_code = world.container.exit_code
    outcome.others_failed = traffic.failures_without(row.hit, world.stopping_at)
    outcome.expect(not outcome.others_failed, f"{outcome.others_failed} requests of others failed")
    outcome.expect(outcome.requests or row.ends, "no request was made")
    outcome.expect(numbered.seen or row.ends, "no numbered line came")
    outcome.expect(
        outcome.exit_code == row.exit_code,
        f"exit code {outcome.exit_code}, promised is {row.exit_code}",
    )
    if not row.loses_lines:
        outcome.expect(not numbered.lost, f"{numbered.lost} log lines are lost")
        outcome.expect(
            row.doubles_lines or not numbered.doubled, f"{numbered.doubled} log lines came twice"
        )
        outcome.expect(
            not log.problem_count,
            f"{log.problem_count} log lines are bad: {[p.text[:200] for p in log.problems[:2]]}",
        )
        if row.exit_code == 0:
            outcome.expect(world.said("all regions have stopped"), "it does not say its last line")
    killed = world.count("ignored SIGTERM")
    outcome.expect(not numbered.misnamed, f"{numbered.misnamed} lines bear another region's name")
    outcome.expect(killed <= row.killed_at_stop, f"{killed} regions ignored SIGTERM: killed")
    last = log.last.text if log.last else ""
    outcome.expect(
        row.last_words in last, f"the last line does not say {row.last_words!r}: {last[:300]}"
    )
