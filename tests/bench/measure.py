"""One measured value and its comparisons."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.core.proof import Check
from harness.core.recorder import Limits, Recorder
from harness.core.text import number
from harness.report.check_table import Column, inline, mark, render_table


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A check of a median of several runs, and its comparisons of the same run."""

    check: Check
    beside: Mapping[str, float]  # comparison: its median, in the check's unit
    runs: tuple[float, ...]  # every run of ours

    @property
    def target(self) -> float | None:
        """The bound or floor; None if the figure is only compared."""
        return self.check.floor if self.check.bound is None else self.check.bound

    def to_json_dict(self) -> dict[str, Any]:
        """The check, its comparisons and its runs in JSON types."""
        return {
            **self.check.to_json_dict(),
            "beside": dict(self.beside),
            "runs": list(self.runs),
        }


def measure(
    *,
    group: str,  # of related figures: "ready", "log lines"; the check's id
    name: str,
    value: float,  # ours, in `unit`
    unit: str,
    bound: float | None = None,
    floor: float | None = None,
    rule: str = "",  # how the limit follows from this run: "1.10 × bare + 0.3 s"
    beside: Mapping[str, float] | None = None,
    runs: tuple[float, ...] = (),
) -> Measure:
    """Record and print one figure as a check; without a limit it always passes."""
    recorder = Recorder()
    limits = Limits(unit=unit, bound=bound, floor=floor, note=rule)
    with recorder.check(group, name, limits=limits) as observation:
        observation.value = value
    return Measure(check=recorder.checks[0], beside=beside or {}, runs=runs)


def _beside(measure: Measure) -> str:
    return ", ".join(f"{name} {number(value)}" for name, value in measure.beside.items())


_COLUMNS = (
    Column[Measure](head="measure", cell=lambda m: inline(m.check.title)),
    Column[Measure](head="measured", cell=lambda m: inline(m.check.measured), align="---:"),
    Column[Measure](head="compared with", cell=lambda m: inline(_beside(m))),
    Column[Measure](head="target", cell=lambda m: inline(m.check.limit)),
    # Without a target there is nothing to pass.
    Column[Measure](head="", cell=lambda m: "" if m.target is None else mark(m.check)),
)


def render_measures(measures: Sequence[Measure]) -> str:
    """The figures as a Markdown table."""
    return render_table(_COLUMNS, measures)


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
