"""Watches one container: when each region answers, falls silent and answers again."""

import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress

from harness.container import RunningContainer
from harness.proof import CONTAINER, EventKind, Scenario, TimelineEvent
from harness.regions import Region

PROBE_PAUSE = 0.02  # seconds between two requests to one region
PROBE_TIMEOUT = 2.0
LOOPBACK = "127.0.0.1"


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

    def await_ready(self, timeout: float) -> dict[str, float]:
        """Milliseconds from the start to each region's first HTTP 200, for those that had one.

        Returns when all have, when `timeout` seconds since the start are over, or at once when
        the container ends.
        """
        deadline = self.container.started_at + timeout
        threads = [
            threading.Thread(target=self._await_region, args=(region, deadline), daemon=True)
            for region in self.regions
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return {name: seconds * 1000 for name, seconds in self.ready_seconds.items()}

    def _await_region(self, region: Region, deadline: float) -> None:
        while time.monotonic() < deadline and not self.container.dead.wait(PROBE_PAUSE):
            if answers(self.container, region):
                now = time.monotonic()
                self.ready_seconds[region.name] = now - self.container.started_at
                self.event(region.name, EventKind.READY, at=now)
                return

    @contextmanager
    def load(self) -> Iterator["Load"]:
        """Requests to every region, one after the other on each, for the block's time."""
        load = Load(self)
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


class Load:
    """Steady requests to every region, with the failures counted per region."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self.requests: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self._up: dict[str, bool] = {}
        self._threads = [
            threading.Thread(target=self._run, args=(region,), daemon=True)
            for region in watch.regions
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End; returns when the last request is done."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, region: str, *, up: bool, timeout: float) -> bool:
        """Whether `region` came to answer (`up`) or not to answer within `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._up.get(region) is up or self._watch.container.dead.is_set(), timeout
            )

    def await_requests(self, count: int, timeout: float) -> bool:
        """Whether every region had `count` more requests within `timeout` seconds."""
        with self._changed:
            before = dict(self.requests)
            return self._changed.wait_for(
                lambda: all(
                    self.requests[r.name] >= before.get(r.name, 0) + count
                    for r in self._watch.regions
                ),
                timeout,
            )

    def _run(self, region: Region) -> None:
        while not self._stop.wait(PROBE_PAUSE):
            good = answers(self._watch.container, region)
            with self._changed:
                self.requests[region.name] += 1
                self.failures[region.name] += not good
                if self._up.get(region.name, good) is not good:
                    kind = EventKind.UP if good else EventKind.DOWN
                    self._watch.event(region.name, kind)
                self._up[region.name] = good
                self._changed.notify_all()


def answers(container: RunningContainer, region: Region) -> bool:
    """Whether the region's published port answers GET /healthz with 200."""
    return status_of(container, region.port, "/healthz") == http.client.OK


def status_of(container: RunningContainer, port: int, path: str) -> int:
    """HTTP status of a GET on a published container port, 0 when there was no answer."""
    return get_status(container.host_ports[port], path) if port in container.host_ports else 0


def get_status(port: int, path: str, host: str = LOOPBACK) -> int:
    """HTTP status of a GET on a port, 0 when there was no answer."""
    connection = http.client.HTTPConnection(host, port, timeout=PROBE_TIMEOUT)
    with closing(connection), suppress(OSError, http.client.HTTPException):
        connection.request("GET", path)
        return connection.getresponse().status
    return 0
