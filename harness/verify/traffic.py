"""Steady requests to every region, with their results."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence

from harness.core.proof import EventKind
from harness.core.regions import Region
from harness.engine.container import RunningContainer
from harness.verify.probe import PROBE_PAUSE, answers


class Load:
    """Sends sequential requests to each region and counts the failures.

    `on_turn` is called with a region's name and UP or DOWN when it starts or stops answering;
    `pause` is the seconds between two requests to one region.
    """

    def __init__(
        self,
        container: RunningContainer,
        regions: Sequence[Region],
        *,
        on_turn: Callable[[str, EventKind], object] | None = None,
        pause: float = PROBE_PAUSE,
    ) -> None:
        self.requests: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self._container = container
        self._regions = tuple(regions)
        self._on_turn = on_turn
        self._pause = pause
        self._up: dict[str, bool] = {}
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._run, args=(region,), daemon=True)
            for region in self._regions
        ]

    def start(self) -> None:
        """Start sending."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop; return when the last request is done."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, region: str, *, up: bool, timeout: float) -> bool:
        """Whether `region` starts (`up`) or stops answering within `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._up.get(region) is up or self._container.dead.is_set(), timeout
            )

    def await_requests(self, count: int, timeout: float) -> bool:
        """Whether every region gets `count` more requests within `timeout` seconds."""
        with self._changed:
            before = Counter(self.requests)
            return self._changed.wait_for(
                lambda: all(self.requests[r.name] >= before[r.name] + count for r in self._regions),
                timeout,
            )

    def _run(self, region: Region) -> None:
        while not self._stop.wait(self._pause):
            good = answers(self._container, region)
            with self._changed:
                self._take(region.name, good=good)
                self._changed.notify_all()

    def _take(self, name: str, *, good: bool) -> None:
        """Count one response; `_changed` is held."""
        self.requests[name] += 1
        self.failures[name] += not good
        if self._on_turn and self._up.get(name, good) is not good:
            self._on_turn(name, EventKind.UP if good else EventKind.DOWN)
        self._up[name] = good
