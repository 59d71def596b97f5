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
from harness.engine.provision import Engine

from .row import Outcome

SCHEMA_VERSION = 1
HEAD = (
    "| row | fault | promise | others failed | recovered | lines lost | exit |"
    " exited after | |\n|---|---|---|---|---|---|---|---|---|"
)


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
        requests = sum(outcome.requests for outcome in self.outcomes)
        lines = sum(outcome.lines for outcome in self.outcomes)
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
        "rows": [as_json(outcome) for outcome in runs[-1].outcomes],
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
    """One row as JSON types."""
    row = outcome.row
    return {
        "name": row.name,
        "requirement": row.requirement,
        "done": row.done,
        "promised": row.promised,
        "kept": outcome.kept,
        "problems": outcome.problems,
        "notes": outcome.notes,
        "requests": outcome.requests,
        "failed_requests": outcome.failed,
        "failed_requests_of_others": outcome.others_failed,
        "recovery_seconds": _rounded(outcome.recovery),
        "log_lines": outcome.lines,
        "log_lines_lost": None if row.loses_lines else outcome.lost,
        "log_lines_twice": outcome.doubled,
        "lines_may_be_lost": row.loses_lines,
        "exit_code": outcome.exit_code,
        "gone_after_seconds": _rounded(outcome.stop),
        "seconds": _rounded(outcome.seconds),
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


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
    rows = (_row(each) for each in zip(*(run.outcomes for run in runs), strict=True))
    return "\n".join([*lines, "", HEAD, *rows, ""])


def _row(runs: Sequence[Outcome]) -> str:
    """A row's outcomes in all runs: the last one's numbers, everyone's problems."""
    outcome, row = runs[-1], runs[-1].row
    problems = [problem for run in runs for problem in run.problems]
    cells = [
        f"`{row.name}` {row.requirement}",
        row.done,
        row.promised,
        f"{outcome.others_failed} of {outcome.requests}",
        _seconds(outcome.recovery),
        f"({row.loses_lines})" if row.loses_lines else f"{outcome.lost} of {outcome.lines}",
        str(outcome.exit_code),
        _seconds(outcome.stop),
        "✗ " + "; ".join(problems) if problems else "✓",
    ]
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} s"
