"""Write the benchmark results: a table for people, JSON for programs, a plot."""

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from rich.table import Table

from harness.core.console import stderr
from harness.core.proof import Environment, StandIn

from .measure import Measure

SCHEMA_VERSION = 1
_MARKS = {True: "✓", False: "✗", None: ""}
_OURS, _BESIDE, _LIMIT = "#16733f", "#b9b4a6", "#b3261e"


def number(value: float) -> str:
    """Format `value` with three significant digits, without an exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def show(measures: Sequence[Measure]) -> None:
    """Print the table."""
    table = Table("measure", "measured", "compared with", "target", "")
    for measure in measures:
        table.add_row(
            measure.name,
            f"{number(measure.value)} {measure.unit}",
            _beside(measure),
            _target(measure),
            _MARKS[measure.met],
        )
    stderr.print(table)


def _beside(measure: Measure) -> str:
    return ", ".join(f"{name} {number(value)}" for name, value in measure.beside.items())


def _target(measure: Measure) -> str:
    if measure.limit is None:
        return ""
    worked_out = number(measure.limit)
    return measure.rule if worked_out in measure.rule else f"{measure.rule} = {worked_out}"


def write(
    measures: Sequence[Measure],
    environment: Environment,
    stand_ins: Sequence[StandIn],
    directory: Path,
) -> Path:
    """Write `bench.json`, `bench.md` and `bench.png` to `directory`; return the plot's path."""
    directory.mkdir(parents=True, exist_ok=True)
    at = datetime.now(UTC).replace(microsecond=0)
    document = _document(measures, environment, stand_ins, at)
    text = json.dumps(document, indent=2, ensure_ascii=False)
    (directory / "bench.json").write_text(text + "\n", encoding="utf-8")
    (directory / "bench.md").write_text(_markdown(measures, environment, stand_ins, at), "utf-8")
    _plot(measures, directory / "bench.png")
    return directory / "bench.png"


def _document(
    measures: Sequence[Measure],
    environment: Environment,
    stand_ins: Sequence[StandIn],
    at: datetime,
) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "at": at.isoformat(),
        "environment": vars(environment) | {"load_average": os.getloadavg()[0]},
        "stand_ins": [vars(stand_in) for stand_in in stand_ins],
        "measures": [
            {**vars(measure), "beside": dict(measure.beside), "met": measure.met}
            for measure in measures
        ],
    }


def _markdown(
    measures: Sequence[Measure],
    environment: Environment,
    stand_ins: Sequence[StandIn],
    at: datetime,
) -> str:
    machine = f"{environment.cpus} cores ({platform.machine()}, Linux {environment.kernel})"
    engine = f"{environment.engine_name} {environment.engine_version}"
    lines = [
        f"Measured {at:%Y-%m-%d %H:%M} UTC on {machine}, {engine}; medians of one run.",
        *(f"Stand-in: {s.kind} in place of {s.replaces}." for s in stand_ins),
        "",
        "| measure | measured | compared with | target | |",
        "|---|---:|---|---|---|",
    ]
    for m in measures:
        cells = (m.name, f"{number(m.value)} {m.unit}", _beside(m), _target(m), _MARKS[m.met])
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _plot(measures: Sequence[Measure], path: Path) -> None:
    """Plot one row of bars per measure with a comparison or a target, each on its own scale."""
    mpl.use("Agg")
    shown = [m for m in measures if m.beside or m.limit is not None]
    figure = Figure(figsize=(10, 0.95 * len(shown) + 0.6), layout="constrained")
    for axes, measure in zip(
        figure.subplots(len(shown), 1, squeeze=False)[:, 0], shown, strict=True
    ):
        bars = {"ours": measure.value, **measure.beside}
        colours = [_OURS, *[_BESIDE] * len(measure.beside)]
        axes.barh(list(bars), list(bars.values()), color=colours, height=0.7)
        axes.invert_yaxis()
        for row, value in enumerate(bars.values()):
            axes.annotate(f" {number(value)}", (value, row), va="center", fontsize=8)
        if measure.limit is not None:
            axes.axvline(measure.limit, color=_LIMIT, linestyle=":", linewidth=1.5)
        axes.set_title(f"{measure.name} ({measure.unit})", fontsize=9, loc="left")
        axes.set_xlim(0, 1.15 * max([*bars.values(), measure.limit or 0]))
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
