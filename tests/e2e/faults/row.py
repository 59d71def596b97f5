"""One row of the fault table, and how it is run and judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import docker

from harness.core.errors import ContainerDiedError
from harness.core.proof import Check, Status
from harness.core.recorder import Limits, Observation, Recorder
from harness.core.settings import MAX_RESTARTS, default_number
from harness.core.text import quantity

from .world import NAMES, READY_SECONDS, World, world_of

STOP_SECONDS = 5.0  # SC-003
RESTARTS = default_number(MAX_RESTARTS)
LINES_PER_READ = 4  # a region logs a line every 25 ms, and they are read at once
EVERY = frozenset(NAMES)
NONE: frozenset[str] = frozenset()
JUST_READ = "no line is lost but what it had just read"
"""No system call both reads a FIFO and records it, so a kill can come between the two."""


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
    full_size: bool = False  # of an image with price lists of the real size
    doubles_lines: bool = False  # the lines of one write may come twice
    loses_reads: int = 0  # reads of the log writer whose lines may be lost
    killed_at_stop: int = 0  # regions that may have to be killed when the container stops
    loses_lines: str = ""  # why lines may be lost, "" when none may


@dataclass(kw_only=True)
class Figures:
    """What was counted while a row ran."""

    requests: int = 0
    failed: int = 0
    others_failed: int = 0
    recovery: float | None = None
    lines: int = 0
    lost: int = 0
    doubled: int = 0
    exit_code: int | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The check of a row, and the figures beside it.

    The check's value is the seconds until the container was gone.
    """

    row: Row
    check: Check
    problems: tuple[str, ...]  # all of them; `check.detail` may be shortened
    figures: Figures

    @property
    def kept(self) -> bool:
        """Whether the row's promise was kept."""
        return self.check.status is Status.PASSED


def run_row(client: docker.DockerClient, image: str, row: Row, recorder: Recorder) -> Outcome:
    """Run one row on a container of its own and record its check; never raises for a failure."""
    figures = Figures()
    with recorder.check(
        row.requirement,
        f"{row.done} → {row.promised}",
        limits=Limits(bound=row.stop_seconds, unit="s", name="gone after"),
        scenario=row.name,
    ) as observation:
        with world_of(client, image, row.environ, row.extra, fifo=row.fifo) as world:
            with observation.attempt():
                _run(world, row, observation, figures)
            _judge(world, row, observation, figures)
        observation.measured = _measured(observation, figures)
        observation.note = "\n".join(figures.notes)
    return Outcome(
        row=row,
        check=recorder.checks[-1],
        problems=tuple(observation.problems),
        figures=figures,
    )


def _measured(observation: Observation, figures: Figures) -> str:
    """The figures in one line; the check compares the last one."""
    gone = "" if observation.value is None else f", gone after {quantity(observation.value, 's')}"
    return (
        f"{figures.requests} requests, {figures.failed} failed, exit code {figures.exit_code}{gone}"
    )


def _run(world: World, row: Row, observation: Observation, figures: Figures) -> None:
    try:
        _act(world, row, observation, figures)
        _end(world, row, observation, figures)
    except ContainerDiedError as error:
        observation.fail(_first_lines(str(error)))


def _first_lines(obituary: str) -> str:
    """What the engine and the container's own parts say, without the regions' lines."""
    return obituary.partition("\nlast lines of ap")[0]


def _act(world: World, row: Row, observation: Observation, figures: Figures) -> None:
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
    observation.expect(not missing, f"no answer {row.recovers:g} s later: {', '.join(missing)}")
    world.traffic.stop()
    figures.recovery = world.recovery_seconds()
    limits = Limits(bound=row.recovers, unit="s", name="requests failed for")
    observation.compare(figures.recovery, limits)


def _end(world: World, row: Row, observation: Observation, figures: Figures) -> None:
    container = world.container
    sent = world.struck_at if row.ends else container.signal("SIGTERM")
    if not container.wait_dead(row.stop_seconds + 5):
        observation.fail(f"it still runs {row.stop_seconds + 5:g} s later")
        top = container.container.top(ps_args="-eo pid,stat,args").get("Processes") or []
        figures.notes.append("; ".join(" ".join(process[1:])[:60] for process in top))
        container.signal("SIGKILL")
        container.wait_dead(10)
        return
    observation.value = container.exit_time() - sent


def _judge(world: World, row: Row, observation: Observation, figures: Figures) -> None:
    if world.traffic.requests and row.ends:
        world.traffic.stop()
    for reader in world.readers:
        reader.close()
    log, traffic, numbered = world.container.log, world.traffic, world.numbered
    figures.notes.extend(world.notes)
    figures.requests = traffic.requests.total()
    figures.failed = traffic.failures.total()
    figures.lines, figures.lost, figures.doubled = log.lines, numbered.lost, numbered.doubled
    figures.exit_code = world.container.exit_code
    figures.others_failed = traffic.failures_without(row.hit, world.stopping_at)
    observation.expect(
        not figures.others_failed, f"{figures.others_failed} requests of others failed"
    )
    observation.expect(figures.requests or row.ends, "no request was made")
    observation.expect(numbered.seen or row.ends, "no numbered line came")
    observation.expect(
        figures.exit_code == row.exit_code,
        f"exit code {figures.exit_code}, promised is {row.exit_code}",
    )
    if not row.loses_lines:
        observation.expect(
            numbered.lost <= LINES_PER_READ * row.loses_reads,
            f"{numbered.lost} log lines are lost",
        )
        observation.expect(
            row.doubles_lines or not numbered.doubled, f"{numbered.doubled} log lines came twice"
        )
        observation.expect(
            not log.problem_count,
            f"{log.problem_count} log lines are bad: {[p.text[:200] for p in log.problems[:2]]}",
        )
        if row.exit_code == 0:
            observation.expect(
                world.said("all regions have stopped"), "it does not say its last line"
            )
    killed = world.count("ignored SIGTERM")
    observation.expect(
        not numbered.misnamed, f"{numbered.misnamed} lines bear another region's name"
    )
    observation.compare(
        killed,
        Limits(bound=row.killed_at_stop, name="regions that ignored SIGTERM and were killed"),
    )
    last = log.last.text if log.last else ""
    observation.expect(
        row.last_words in last, f"the last line does not say {row.last_words!r}: {last[:300]}"
    )
