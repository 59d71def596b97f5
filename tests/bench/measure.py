"""One measured value and its comparisons."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Measure:
    """The median of several runs, comparisons from the same session, and a target."""

    group: str  # rows of one group are drawn together: "ready", "log lines"
    name: str
    value: float  # of the image, in `unit`
    unit: str
    beside: Mapping[str, float] = field(default_factory=dict)  # comparison: its median
    rule: str = ""  # the target in words: "≤ 1.10 × bare + 0.3 s"
    limit: float | None = None  # the target in `unit`, computed for this run
    at_least: bool = False  # the target is a minimum, not a maximum
    runs: tuple[float, ...] = ()  # the value of every run

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without a target."""
        if self.limit is None:
            return None
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def alternate(rounds: int, *runs: Callable[[], float]) -> tuple[tuple[float, ...], ...]:
    """Call `runs` in turn, A B A B …, so that drift affects all equally; return their results."""
    results: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for values, run in zip(results, runs, strict=True):
            values.append(run())
    return tuple(tuple(values) for values in results)


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value that `percent` percent of `values` do not exceed."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
