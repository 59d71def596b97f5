"""Writes what the fault table measured: JSON for machines, Markdown for the docs."""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.engine import Engine
from harness.model import BuiltImage

from .row import Outcome

SCHEMA_VERSION = 1
HEAD = (
    "| row | what is done | what is promised | others failed | recovered | lines lost | exit |"
    " gone after | |\n|---|---|---|---|---|---|---|---|---|"
)


def write_report(
    engine: Engine, image: BuiltImage, outcomes: Sequence[Outcome], directory: Path
) -> str:
    """Write `faults.json` and `faults.md` to `directory`; returns the Markdown."""
    directory.mkdir(parents=True, exist_ok=True)
    found = {
        "schema_version": SCHEMA_VERSION,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(engine),
        "image": {"id": image.image_id, "version": image.version},
        "stand_ins": [stand_in.kind for stand_in in image.stand_ins],
        "rows": [as_json(outcome) for outcome in outcomes],
    }
    text = json.dumps(found, indent=1, ensure_ascii=False)
    (directory / "faults.json").write_text(text + "\n", encoding="utf-8")
    markdown = as_markdown(found, outcomes)
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


def as_markdown(found: Mapping[str, Any], outcomes: Sequence[Outcome]) -> str:
    """The table, with date and machine above it."""
    kept, there = sum(outcome.kept for outcome in outcomes), found["machine"]
    lines = [
        f"{kept} of {len(outcomes)} rows as promised, {found['date']}, on {there['processors']}"
        f" processors, {there['memory_bytes'] / 2**30:.0f} GiB, Linux {there['kernel']},"
        f" {there['architecture']}, engine {there['engine']},"
        f" {sum(outcome.requests for outcome in outcomes)} requests,"
        f" {sum(outcome.lines for outcome in outcomes)} log lines."
    ]
    if found["stand_ins"]:
        lines.append(f"Stand-ins: {', '.join(found['stand_ins'])}.")
    return "\n".join([*lines, "", HEAD, *(_row(outcome) for outcome in outcomes), ""])


def _row(outcome: Outcome) -> str:
    row = outcome.row
    cells = [
        f"`{row.name}` {row.requirement}",
        row.done,
        row.promised,
        f"{outcome.others_failed} of {outcome.requests}",
        _seconds(outcome.recovery),
        f"({row.loses_lines})" if row.loses_lines else f"{outcome.lost} of {outcome.lines}",
        str(outcome.exit_code),
        _seconds(outcome.stop),
        "✓" if outcome.kept else "✗ " + "; ".join(outcome.problems),
    ]
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} s"
