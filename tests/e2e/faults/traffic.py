"""Requests to every region for as long as a fault lasts, and what became of each."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from http import HTTPStatus

from harness.container import RunningContainer
from harness.regions import Region
from harness.verify.watch import status_of

PAUSE = 0.04  # seconds between two requests to one region
SETTLED = 3  # answers in a row that show that a region is up


class Traffic:
    """Requests to every region, one after the other on each; failures are kept with their time."""

    def __init__(self, container: RunningContainer, regions: Sequence[Region]) -> None:
        self._container = container
        self._regions = tuple(regions)
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._in_a_row: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.failed_at: dict[str, list[float]] = {region.name: [] for region in regions}
        self._threads = [
            threading.Thread(target=self._run, args=(region,), daemon=True)
            for region in self._regions
        ]

    def start(self) -> None:
        """Begin; returns when every region had an answer."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End; returns when the last request is done."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def failures_without(self, spared: frozenset[str], before: float = float("inf")) -> int:
        """Failed requests of the regions that are not `spared`, until the moment `before`."""
        with self._changed:
            return sum(
                at < before
                for name, times in self.failed_at.items()
                if name not in spared
                for at in times
            )

    def last_failure(self, names: Sequence[str]) -> float:
        """When a request to one of the regions `names` failed last; 0 when none did."""
        with self._changed:
            return max((at for name in names for at in self.failed_at[name]), default=0.0)

    def await_all_up(self, timeout: float, give_up: Callable[[], bool]) -> list[str]:
        """Names of the regions that do not answer several times in a row within `timeout`."""
        with self._changed:
            self._in_a_row.clear()
            self._changed.wait_for(lambda: not self._not_up() or give_up(), timeout)
            return self._not_up()

    def _not_up(self) -> list[str]:
        return [r.name for r in self._regions if self._in_a_row[r.name] < SETTLED]

    def _run(self, region: Region) -> None:
        name = region.name
        while not self._stop.wait(PAUSE):
            good = status_of(self._container, region.port, "/healthz") == HTTPStatus.OK
            with self._changed:
                self.requests[name] += 1
                if good:
                    self._in_a_row[name] = max(self._in_a_row[name], 0) + 1
                else:
                    self._in_a_row[name] = -1
                    self.failures[name] += 1
                    self.failed_at[name].append(time.monotonic())
                self._changed.notify_all()
