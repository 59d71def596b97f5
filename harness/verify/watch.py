"""Watch one container: when each region starts, stops and resumes answering."""

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

    A long start is probed less often, because probes take processor time from the regions: in a
    start of 12 s the harness and the proxy used 3.8 s at a fixed 20 ms, and 2.0 s this way. The
    ready time is measured at most 2 % too late.
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
        """Record an event `at` (time.monotonic(); 0 for now)."""
        seconds = (at or time.monotonic()) - (self.container.started_at or time.monotonic())
        with self._lock:
            self._events.append(
                TimelineEvent(seconds=max(0.0, seconds), region=region, kind=kind, detail=detail)
            )

    def elapsed(self) -> float:
        """Seconds since the container's start."""
        return time.monotonic() - self.container.started_at

    def signal(self, name: str) -> float:
        """Send a signal to the container and record it; return when."""
        self.signalled_at = self.container.signal(name)
        self.event(CONTAINER, EventKind.SIGNAL, name, self.signalled_at)
        return self.signalled_at

    def await_ready(self, timeout: float, *, count: int | None = None) -> dict[str, float]:
        """Milliseconds from the start to each region's first HTTP 200, for those that had one.

        Returns when all regions (or `count`) are ready, `timeout` seconds after the start, or when
        the container exits. Call it again to continue waiting.
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
            # A pending request does not delay the return once enough regions are ready.
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
        """Send sequential requests to each region for the duration of the block."""
        load = Load(self.container, self.regions, on_turn=self.event)
        load.start()
        try:
            yield load
        finally:
            load.stop()

    def close(self) -> None:
        """Derive start and stop events from the log, and stop the scenario's clock."""
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
        """The observations, for the proof."""
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
