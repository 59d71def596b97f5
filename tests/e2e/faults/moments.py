"""SIGTERM at many moments, each to a container of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from harness.core.errors import HarnessError
from harness.engine.container import Options, RunningContainer, created
from harness.engine.logs import LogLine

from .world import NAMES, World

MOMENTS = 50
BACKOFF_SECONDS, RESTART_SECONDS = 0.15, 0.3
READY_SECONDS = 30
STOP_SECONDS = 5.0  # SC-003
_KILL_ALL = """
for pid in $(grep -las 'finfocus-[p]lugin-aws-public-' /proc/[0-9]*/cmdline); do
  pid=${pid#/proc/}; kill -KILL "${pid%/cmdline}" 2>/dev/null
done; true
"""


@dataclass(frozen=True)
class _Start:
    """A staged start, the moments of which are tried."""

    environ: Mapping[str, str]
    seconds: float  # the whole of it, and a little more
    at_a_time: int = 3


_SHORT = _Start({"STANDIN_START_CPU": "100ms", "FINFOCUS_START_PARALLEL": "2"}, 3.0)
_FULL_SIZE = _Start({}, 15.0, at_a_time=1)


def starting(world: World) -> None:
    """SIGTERM while a staged start is on its way."""
    _all(world, partial(_at_start, _SHORT), _SHORT.at_a_time)


def starting_at_full_size(world: World) -> None:
    """The same on an image with price lists of the real size."""
    _all(world, partial(_at_start, _FULL_SIZE), _FULL_SIZE.at_a_time)


def restarting(world: World) -> None:
    """SIGTERM while all regions, which were killed, are started again."""
    _all(world, _at_restart, _SHORT.at_a_time)


Moment = Callable[[World, int], tuple[float, str]]


def _all(world: World, moment: Moment, at_a_time: int) -> None:
    """Try all; the row's own container ends as the last one."""
    with ThreadPoolExecutor(at_a_time) as pool:
        tried = list(pool.map(partial(moment, world), range(MOMENTS)))
    world.note(f"gone after {max(seconds for seconds, _ in tried):.2f} s at most")
    if problems := [problem for _, problem in tried if problem]:
        raise HarnessError("; ".join(problems))
    world.start(0)
    world.container.signal("SIGTERM")
    world.strike()


@contextmanager
def _container(world: World, environ: Mapping[str, str]) -> Iterator[RunningContainer]:
    options = Options(environ=environ, extra={"network_mode": "none"})
    image = str(world.container.container.attrs["Image"])
    with created(world.client, image, NAMES, options) as container:
        yield container


def _at_start(start: _Start, world: World, number: int) -> tuple[float, str]:
    after = number / MOMENTS * start.seconds
    with _container(world, start.environ) as container:
        container.start(())
        # Before that process 1 has no handler twice, for milliseconds: as bash and as Lua starts.
        container.log.wait_for(lambda: container.log.lines > 0, READY_SECONDS)
        return _stop(container, after)


def _at_restart(world: World, number: int) -> tuple[float, str]:
    ready: Counter[str] = Counter()

    def take(line: LogLine) -> None:
        ready[line.region] += (line.fields or {}).get("message") == "region is ready"

    with _container(world, {}) as container:
        container.log.listen(take)
        container.start(())
        if not container.log.wait_for(lambda: ready.total() == len(NAMES), READY_SECONDS):
            return 0.0, f"only {ready.total()} regions are ready"
        container.execute(["bash", "-c", _KILL_ALL])
        return _stop(container, BACKOFF_SECONDS + number / MOMENTS * RESTART_SECONDS)


def _stop(container: RunningContainer, after: float) -> tuple[float, str]:
    """SIGTERM after so many seconds: how long it then takes, and what is wrong with the end."""
    container.dead.wait(after)
    sent = container.signal("SIGTERM")
    if not container.wait_dead(STOP_SECONDS + 5):
        return STOP_SECONDS + 5, f"SIGTERM after {after:.2f} s: it still runs"
    seconds = container.exit_time() - sent
    good = container.exit_code == 0 and seconds <= STOP_SECONDS
    what = f"SIGTERM after {after:.2f} s: code {container.exit_code}, gone after {seconds:.2f} s"
    return seconds, "" if good else what
