"""Requests to every region for as long as a fault lasts, and when they failed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence

from harness.core.regions import Region
from harness.engine.container import RunningContainer
from harness.verify.traffic import Load

PAUSE = 0.04  # seconds between two requests to one region
SETTLED = 3  # answers in a row that show that a region is up


class Traffic(Load):
    """A load that keeps the moment of every failure."""

    def __init__(self, container: RunningContainer, regions: Sequence[Region]) -> None:
        super().__init__(container, regions, pause=PAUSE)
        self.failed_at: dict[str, list[float]] = {region.name: [] for region in regions}
        self._in_a_row: Counter[str] = Counter()

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

    def _take(self, name: str, *, good: bool) -> None:
        super()._take(name, good=good)
        if good:
            self._in_a_row[name] += 1
        else:
            self._in_a_row[name] = 0
            self.failed_at[name].append(time.monotonic())
