"""Derive the phases of each region in a scenario from its events."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from harness.core.proof import CONTAINER, EventKind, Scenario, TimelineEvent


class Phase(StrEnum):
    """The state of a region during a stretch of time."""

    STARTING = "starting"
    RUNNING = "running"
    DOWN = "down"


_BEGINS = {
    EventKind.START: Phase.STARTING,
    EventKind.RESTART: Phase.STARTING,
    EventKind.READY: Phase.RUNNING,
    EventKind.UP: Phase.RUNNING,
    EventKind.DOWN: Phase.DOWN,
}
_ENDS = frozenset({EventKind.EXIT, EventKind.KILLED, EventKind.STOPPED})


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A stretch of time that a region spent in one phase, in seconds of the scenario."""

    phase: Phase
    start: float
    end: float


@dataclass(frozen=True, kw_only=True)
class Lane:
    """The history of one region, or of the container if `region` is `CONTAINER`."""

    region: str
    segments: tuple[Segment, ...]
    events: tuple[TimelineEvent, ...]
    ready_after: float | None  # seconds from the container's start; None: never ready
    stop_after: float | None  # seconds from the signal; None: no signal, or it did not exit


def lanes(scenario: Scenario) -> tuple[Lane, ...]:
    """Return the container's lane, then the regions in the order of the scenario.

    Regions that appear only in events come last.
    """
    named = (event.region for event in scenario.events)
    return tuple(
        _lane(scenario, region) for region in dict.fromkeys((CONTAINER, *scenario.regions, *named))
    )


def started_at(scenario: Scenario) -> float:
    """When the container was started; 0 if its start was not recorded."""
    return _first(_of(scenario, CONTAINER), EventKind.START) or 0.0


def signalled_at(scenario: Scenario) -> float | None:
    """When the container was first sent a signal."""
    return _first(_of(scenario, CONTAINER), EventKind.SIGNAL)


def end_of(scenario: Scenario) -> float:
    """The last moment with anything to show."""
    return max([scenario.seconds, *(event.seconds for event in scenario.events)])


def quiet_gaps(scenario: Scenario) -> tuple[tuple[float, float], ...]:
    """Return the stretches without events in which no region was starting, down or stopping.

    The scenario measures starts, restarts and exits, so these waits are never quiet.
    """
    end = end_of(scenario)
    moments = sorted({0.0, end, *(event.seconds for event in scenario.events)})
    last = signalled_at(scenario)
    busy = [span for lane in lanes(scenario) for span in _waits(lane)]
    return tuple(
        (start, stop)
        for start, stop in pairwise(moments)
        if (last is None or stop <= last)
        and not any(begin < stop and start < done for begin, done in busy)
    )


def _waits(lane: Lane) -> Iterator[tuple[float, float]]:
    """Yield the stretches in which the region was starting, down, or awaiting a restart."""
    for segment in lane.segments:
        if segment.phase is not Phase.RUNNING:
            yield segment.start, segment.end
    for before, after in pairwise(lane.segments):
        yield before.end, after.start


def _lane(scenario: Scenario, region: str) -> Lane:
    events = _of(scenario, region)
    ready = _first(events, EventKind.READY)
    signal = signalled_at(scenario)
    ended = next((e.seconds for e in reversed(events) if e.kind in _ENDS), None)
    stopped = signal is not None and ended is not None and ended >= signal
    return Lane(
        region=region,
        segments=tuple(_segments(events, end_of(scenario))),
        events=events,
        ready_after=None if ready is None else ready - started_at(scenario),
        stop_after=ended - signal if stopped and ended is not None and signal is not None else None,
    )


def _segments(events: tuple[TimelineEvent, ...], end: float) -> Iterator[Segment]:
    phase: Phase | None = None
    since = 0.0
    for event in events:
        if event.kind not in _BEGINS and event.kind not in _ENDS:
            continue
        if phase is not None and event.seconds > since:
            yield Segment(phase=phase, start=since, end=event.seconds)
        phase, since = _BEGINS.get(event.kind), event.seconds
    if phase is not None and end > since:
        yield Segment(phase=phase, start=since, end=end)


def _of(scenario: Scenario, region: str) -> tuple[TimelineEvent, ...]:
    mine = (event for event in scenario.events if event.region == region)
    return tuple(sorted(mine, key=lambda event: event.seconds))


def _first(events: tuple[TimelineEvent, ...], kind: EventKind) -> float | None:
    return next((event.seconds for event in events if event.kind is kind), None)
