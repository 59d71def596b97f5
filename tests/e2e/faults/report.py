"""Writes what the fault table measured: JSON for machines, Markdown for the docs."""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.core.stages import BuiltImage
from harness.core.text import quantity
from harness.engine.provision import Engine
from harness.report.check_table import Column, inline, mark, render_table

from .row import Figures, Outcome

SCHEMA_VERSION = 2


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of the table."""

    outcomes: Sequence[Outcome]
    date: str = field(default_factory=_now)

    @property
    def kept(self) -> int:
        """How many rows were as promised."""
        return sum(outcome.kept for outcome in self.outcomes)

    @property
    def summary(self) -> str:
        """One line on the whole run."""
        requests = sum(outcome.figures.requests for outcome in self.outcomes)
        lines = sum(outcome.figures.lines for outcome in self.outcomes)
        return (
            f"{self.date}: {self.kept} of {len(self.outcomes)} rows as promised,"
            f" {requests} requests, {lines} log lines"
        )


def write_report(engine: Engine, image: BuiltImage, runs: Sequence[Run], directory: Path) -> str:
    """Write `faults.json` and `faults.md` to `directory`; returns the Markdown.

    The rows have the numbers of the last of `runs`, and the problems of all.
    """
    directory.mkdir(parents=True, exist_ok=True)
    found = {
        "schema_version": SCHEMA_VERSION,
        "date": runs[-1].date,
        "runs": [{"date": r.date, "kept": r.kept, "rows": len(r.outcomes)} for r in runs],
        "machine": machine(engine),
        "image": {"id": image.image_id, "version": image.version},
        "stand_ins": [stand_in.kind for stand_in in image.stand_ins],
        "checks": [as_json(outcome) for outcome in runs[-1].outcomes],
    }
    text = json.dumps(found, indent=1, ensure_ascii=False)
    (directory / "faults.json").write_text(text + "\n", encoding="utf-8")
    markdown = as_markdown(found, runs)
    (directory / "faults.md").write_text(markdown, encoding="utf-8")
    return markdown


def machine(engine: Engine) -> dict[str, Any]:
    """What the numbers were measured on."""
    return {
        "processors": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "architecture": engine.architecture,
        "engine": str(engine.client.version()["Version"]),
    }


def as_json(outcome: Outcome) -> dict[str, Any]:
    """One row's check in JSON types, with its figures beside it."""
    row, figures = outcome.row, outcome.figures
    recovery = figures.recovery
    return {
        **outcome.check.to_json_dict(),
        "done": row.done,
        "promised": row.promised,
        "requests": figures.requests,
        "failed_requests": figures.failed,
        "failed_requests_of_others": figures.others_failed,
        "recovery_seconds": None if recovery is None else round(recovery, 3),
        "log_lines": figures.lines,
        "log_lines_lost": None if row.loses_lines else figures.lost,
        "log_lines_twice": figures.doubled,
        "lines_may_be_lost": row.loses_lines,
        "exit_code": figures.exit_code,
    }


def as_markdown(found: Mapping[str, Any], runs: Sequence[Run]) -> str:
    """The table, with dates and machine above it."""
    there = found["machine"]
    lines = [
        f"On {there['processors']} processors, {there['memory_bytes'] / 2**30:.0f} GiB,"
        f" Linux {there['kernel']}, {there['architecture']}, engine {there['engine']}.",
        *([f"Stand-ins: {', '.join(found['stand_ins'])}."] if found["stand_ins"] else []),
        "The figures are those of the last run. All runs:" if len(runs) > 1 else "",
        "",
        *(f"- {run.summary}." for run in runs),
    ]
    table = render_table(_COLUMNS, zip(*(run.outcomes for run in runs), strict=True))
    return "\n".join([*lines, "", table, ""])


Runs = Sequence[Outcome]  # the outcomes of one row in all runs of the table


def _lost(runs: Runs) -> str:
    row, figures = runs[-1].row, runs[-1].figures
    return f"({row.loses_lines})" if row.loses_lines else f"{figures.lost} of {figures.lines}"


def _verdict(runs: Runs) -> str:
    """The last run's mark, or the failure of any run and the problems of all."""
    problems = [problem for run in runs for problem in run.problems]
    failed = next((run for run in runs if not run.kept), runs[-1])
    return inline(" ".join([mark(failed.check), "; ".join(problems)]))


def _seconds(value: float | None) -> str:
    return "" if value is None else quantity(value, "s")


def _others(figures: Figures) -> str:
    return f"{figures.others_failed} of {figures.requests}"


_COLUMNS = (
    Column[Runs](head="row", cell=lambda r: f"`{r[-1].row.name}` {r[-1].check.requirement}"),
    Column[Runs](head="fault", cell=lambda r: inline(r[-1].row.done)),
    Column[Runs](head="promise", cell=lambda r: inline(r[-1].row.promised)),
    Column[Runs](head="others failed", cell=lambda r: _others(r[-1].figures)),
    Column[Runs](head="recovered", cell=lambda r: _seconds(r[-1].figures.recovery)),
    Column[Runs](head="lines lost", cell=lambda r: inline(_lost(r))),
    Column[Runs](head="exit", cell=lambda r: str(r[-1].figures.exit_code)),
    Column[Runs](head="exited after", cell=lambda r: _seconds(r[-1].check.value)),
    Column[Runs](head="", cell=_verdict),
)
