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

from harness.core.proof import Environment, StandIn
from harness.core.text import number

from .measure import Measure, render_measures

SCHEMA_VERSION = 2
_OURS, _BESIDE, _LIMIT = "#16733f", "#b9b4a6", "#b3261e"


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
        "checks": [measure.to_json_dict() for measure in measures],
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
        render_measures(measures),
    ]
    return "\n".join(lines) + "\n"


def _plot(measures: Sequence[Measure], path: Path) -> None:
    """Plot one row of bars per measure with a comparison or a target, each on its own scale."""
    mpl.use("Agg")
    shown = [m for m in measures if m.beside or m.target is not None]
    figure = Figure(figsize=(10, 0.95 * len(shown) + 0.6), layout="constrained")
    for axes, measure in zip(
        figure.subplots(len(shown), 1, squeeze=False)[:, 0], shown, strict=True
    ):
        check = measure.check
        bars = {"ours": check.value or 0.0, **measure.beside}
        colours = [_OURS, *[_BESIDE] * len(measure.beside)]
        axes.barh(list(bars), list(bars.values()), color=colours, height=0.7)
        axes.invert_yaxis()
        for row, value in enumerate(bars.values()):
            axes.annotate(f" {number(value)}", (value, row), va="center", fontsize=8)
        if measure.target is not None:
            axes.axvline(measure.target, color=_LIMIT, linestyle=":", linewidth=1.5)
        axes.set_title(f"{check.title} ({check.unit})", fontsize=9, loc="left")
        axes.set_xlim(0, 1.15 * max([*bars.values(), measure.target or 0]))
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
