"""Watches one container: when each region answers, falls silent and answers again."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from harness.core.proof import CONTAINER, EventKind, Scenario, TimelineEvent
from harness.core.regions import Region
from harness.engine.container import RunningContainer
from harness.verify.probe import PROBE_PAUSE, answers
from harness.verify.traffic import Load

LONGEST_PAUSE = 0.2
_SHARE = 0.02


def pause_before_probe(elapsed: float) -> float:
    """Seconds until a region is probed again, `elapsed` seconds after the container's start.

    A start that takes long is probed less often, because probes take processor time that the
    regions need: at a fixed 20 ms the harness and the proxy took 3.8 s of it in a start of 12 s,
    and 2.0 s so. The ready time is measured at most 2 % too late.
    """
    return min(max(PROBE_PAUSE, _SHARE * elapsed), LONGEST_PAUSE)


class Watch:
    """The timeline of one scenario; seconds count from the container's start."""

    def __init__(
        self, *, name: str, title: str, container: RunningContainer, regions: Sequence[Region]
    ) -> None:
        self.name = name
        self.title = title
        self.container = container
        self.regions = tuple(regions)
        self.ready_seconds: dict[str, float] = {}
        self._events: list[TimelineEvent] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self.signalled_at: float | None = None
        self._seconds = 0.0

    def event(self, region: str, kind: EventKind, detail: str = "", at: float = 0) -> None:
        """Note what happened `at` (time.monotonic(); 0 for now)."""
        seconds = (at or time.monotonic()) - (self.container.started_at or time.monotonic())
        with self._lock:
            self._events.append(
                TimelineEvent(seconds=max(0.0, seconds), region=region, kind=kind, detail=detail)
            )

    def elapsed(self) -> float:
        """Seconds since the container's start."""
        return time.monotonic() - self.container.started_at

    def signal(self, name: str) -> float:
        """Send a signal to the container and note it; returns when."""
        self.signalled_at = self.container.signal(name)
        self.event(CONTAINER, EventKind.SIGNAL, name, self.signalled_at)
        return self.signalled_at

    def await_ready(self, timeout: float, *, count: int | None = None) -> dict[str, float]:
        """Milliseconds from the start to each region's first HTTP 200, for those that had one.

        Returns when all have, or `count` of them, when `timeout` seconds since the start are over,
        or at once when the container ends. It may be called again, to wait on.
        """
        deadline = self.container.started_at + timeout
        enough = len(self.regions) if count is None else count
        threads = [
            threading.Thread(
                target=self._await_region, args=(region, deadline, enough), daemon=True
            )
            for region in self.regions
            if region.name not in self.ready_seconds
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            # One that waits for an answer does not delay the return when enough are ready.
            while thread.is_alive() and len(self.ready_seconds) < enough:
                thread.join(PROBE_PAUSE)
        return {name: seconds * 1000 for name, seconds in self.ready_seconds.copy().items()}

    def _await_region(self, region: Region, deadline: float, enough: int) -> None:
        while time.monotonic() < deadline and len(self.ready_seconds) < enough:
            if self.container.dead.wait(pause_before_probe(self.elapsed())):
                return
            if answers(self.container, region):
                now = time.monotonic()
                self.ready_seconds[region.name] = now - self.container.started_at
                self.event(region.name, EventKind.READY, at=now)
                return

    @contextmanager
    def load(self) -> Iterator[Load]:
        """Requests to every region, one after the other on each, for the block's time."""
        load = Load(self.container, self.regions, on_turn=self.event)
        load.start()
        try:
            yield load
        finally:
            load.stop()

    def close(self) -> None:
        """Derive what the log tells about starts and stops, and end the scenario's clock."""
        log, container = self.container.log, self.container
        if container.dead.is_set():
            log.finish()
        self._seconds = (container.ended_at or time.monotonic()) - container.started_at
        for region in self.regions:
            if (first := log.first_at.get(region.name)) is not None:
                self.event(region.name, EventKind.START, "first log line", first)
            last = log.last_at.get(region.name, 0)
            if container.dead.is_set():
                self.event(region.name, EventKind.STOPPED, "", max(last, self.signalled_at or 0))

    def scenario(self, ready_limit: float | None, stop_limit: float | None) -> Scenario:
        """What was seen, for the proof."""
        return Scenario(
            name=self.name,
            title=self.title,
            seconds=max(self._seconds, 0.0),
            regions=tuple(region.name for region in self.regions),
            events=tuple(sorted(self._events, key=lambda event: event.seconds)),
            exit_code=self.container.exit_code,
            log_tail=self.container.log.tail(10),
            ready_limit=ready_limit,
            stop_limit=stop_limit,
        )
