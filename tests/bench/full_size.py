"""Compare the image, with price lists of the real size, with the same binaries started bare.

Starting the twelve takes about 20 seconds of processor time and 7 GB of memory: run nothing else
meanwhile. "Staged" is also bare, but started a few at a time, as in the image.
"""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from harness.core.errors import HarnessError
from harness.core.regions import Region
from harness.engine.container import Options, RunningContainer, running
from harness.verify import inside
from harness.verify.target import Target

from .bare import bare_regions, first_answers
from .measure import Measure, measure, median

ROUNDS = 3
STAGED = 4
STOPS = 50
STOP_SECONDS = 5.0  # SC-003
PAUSE_SECONDS = 0.25  # at 0.02 s, the requests used a tenth of the two processors


@dataclass(frozen=True, kw_only=True)
class Start:
    """One start: seconds to each region's first response, and the plugins' memory then."""

    answers: tuple[float, ...]
    anonymous: float  # bytes


def measure_full_size(target: Target, binaries: Path, *, settle: float) -> Iterator[Measure]:
    """Yield rows for start, memory at start and after `settle` seconds (0: omitted), and stops."""
    ours, at_once, staged, alone = [], [], [], []
    for _ in range(ROUNDS):
        ours.append(_contained(target))
        at_once.append(_bare(binaries, target.regions, 0))
        staged.append(_bare(binaries, target.regions, STAGED))
        alone.append(_bare(binaries, target.regions[:1], 0))
    yield from _ready(ours, at_once, staged, alone)
    yield _memory("at start", [s.anonymous for s in ours], [s.anonymous for s in at_once])
    yield _stops(target, max(median([max(s.answers) for s in ours]), 1.0))
    if settle:
        yield _memory(f"after {settle / 60:g} min", [_settled(target, settle)], [])


def _ready(
    ours: Sequence[Start], at_once: Sequence[Start], staged: Sequence[Start], alone: Sequence[Start]
) -> Iterator[Measure]:
    """Yield rows for the last, mean and first region to become ready."""
    one = median([max(start.answers) for start in alone])
    for name, of, factor, rule in (
        ("all", max, 0.95, "0.95 × bare at once"),
        ("mean", fmean, 0.6, "0.6 × bare at once"),
        ("first", min, 2.0, "2 × one bare region alone"),
    ):
        runs = tuple(of(start.answers) for start in ours)
        beside = {
            "bare at once": median([of(start.answers) for start in at_once]),
            f"bare, {STAGED} at a time": median([of(start.answers) for start in staged]),
            "one bare region alone": one,
        }
        yield measure(
            group="full size",
            name=f"full size: {name} ready",
            value=median(runs),
            unit="s",
            beside=beside,
            rule=rule,
            bound=factor * (one if name == "first" else beside["bare at once"]),
            runs=runs,
        )


def _memory(when: str, ours: Sequence[float], bare: Sequence[float]) -> Measure:
    return measure(
        group="full size",
        name=f"full size: memory of the plugins {when}",
        value=median(ours) / 1e9,
        unit="GB",
        beside={"bare at once": median(bare) / 1e9} if bare else {},
        runs=tuple(value / 1e9 for value in ours),
    )


def _stops(target: Target, start_seconds: float) -> Measure:
    """Send SIGTERM at moments spread over the start; raise if an exit code is not 0."""
    jitter = random.Random(1)
    runs = []
    for number in range(STOPS):
        after = start_seconds * (number + jitter.random()) / STOPS
        runs.append(_stopped(target, after))
    return measure(
        group="full size",
        name=f"full size: slowest of {STOPS} stops during the start",
        value=max(runs),
        unit="s",
        bound=STOP_SECONDS,
        runs=tuple(runs),
    )


def _stopped(target: Target, after: float) -> float:
    with running(target.client, target.reference, target.names, Options()) as container:
        container.dead.wait(max(0.0, container.started_at + after - time.monotonic()))
        sent = container.signal("SIGTERM")
        if not container.wait_dead(30) or container.exit_code != 0:
            raise HarnessError(
                f"SIGTERM {after:.2f} s after the start: exit code {container.exit_code}, not 0"
            )
        return container.exit_time() - sent


def _contained(target: Target) -> Start:
    with _ready_container(target) as (container, answers):
        return Start(answers=answers, anonymous=_anonymous_inside(container, target))


def _settled(target: Target, seconds: float) -> float:
    with _ready_container(target) as (container, _):
        container.dead.wait(seconds)  # the measured interval
        container.expect_alive()
        return _anonymous_inside(container, target)


@contextmanager
def _ready_container(target: Target) -> Iterator[tuple[RunningContainer, tuple[float, ...]]]:
    with running(target.client, target.reference, target.names, Options()) as container:
        ports = [region.port for region in target.regions]
        moments = first_answers(ports, container.address(), pause=PAUSE_SECONDS)
        yield container, tuple(moment - container.started_at for moment in moments)


def _bare(binaries: Path, regions: Sequence[Region], at_once: int) -> Start:
    with bare_regions(binaries, regions, {}, at_once=at_once) as bare:
        answers = tuple(bare.first_answers(pause=PAUSE_SECONDS))
        statuses = {str(pid): Path(f"/proc/{pid}/status").read_text("utf-8") for pid in bare.pids}
        return Start(answers=answers, anonymous=_anonymous(statuses))


def _anonymous_inside(container: RunningContainer, target: Target) -> float:
    pids = inside.plugins(container, target.regions).values()
    return _anonymous(
        {str(pid): inside.shell(container, f"cat /proc/{pid}/status") for pid in pids}
    )


def _anonymous(statuses: Mapping[str, str]) -> float:
    """Sum the anonymous memory in bytes over texts of /proc/PID/status (proc(5))."""
    total = 0
    for text in statuses.values():
        line = next(line for line in text.splitlines() if line.startswith("RssAnon:"))
        total += int(line.split()[1]) * 1024
    return total
