"""The ignore file: what may be left as it is, why, and until when.

The format is Trivy's, and Trivy applies it. The rules here are stricter: every entry has a reason
and an end, and is needed. https://trivy.dev/latest/docs/configuration/filtering/#trivyignoreyaml
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import yaml

from harness.core.errors import UsageError
from harness.core.untrusted import UNREADABLE
from harness.scan.model import IGNORE_FILE, Suppressed

_SECTIONS = ("vulnerabilities", "secrets")
_KEYS = {"id", "paths", "purls", "statement", "expired_at"}


@dataclass(frozen=True, kw_only=True)
class Ignore:
    """One entry of the ignore file."""

    id: str
    statement: str
    expires: date  # the first day on which it does not count

    def expired(self, now: datetime) -> bool:
        """Whether Trivy no longer applies it: its day has begun, in UTC."""
        return now.astimezone(UTC).date() >= self.expires


def load_ignores(path: Path | None) -> tuple[Ignore, ...]:
    """Every entry of the ignore file at `path`; none when the file of the default name is missing.

    Raises `UsageError` that names each entry without an id, a reason or an end.
    """
    if path is None or (path == IGNORE_FILE and not path.exists()):
        return ()
    if path.suffix not in {".yaml", ".yml"}:
        raise UsageError(f"{path}: an ignore file is YAML, such as {IGNORE_FILE}")
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the ignore file {path} cannot be read: {error}") from error
    # The last for what YAML lets pass and Python does not have, such as the 13th month.
    except (yaml.YAMLError, *UNREADABLE) as error:
        raise UsageError(f"the ignore file {path} is not YAML: {error}") from error
    if not isinstance(data or {}, Mapping):
        raise UsageError(f"the ignore file {path} needs {' or '.join(_SECTIONS)} at the top")
    return _entries(path, data or {})


def _entries(path: Path, data: Mapping[str, Any]) -> tuple[Ignore, ...]:
    problems = [f"{key}: not a section that this scan has" for key in data if key not in _SECTIONS]
    found = []
    for section in _SECTIONS:
        rows = data.get(section) or []
        if not isinstance(rows, list):
            problems.append(f"{section}: not a list")
            continue
        for number, row in enumerate(rows, start=1):
            wrong = _wrong(row)
            problems += [f"{section}, entry {number}: {words}" for words in wrong]
            if not wrong:
                found.append(
                    Ignore(
                        id=row["id"],
                        statement=row["statement"],
                        expires=_day(row["expired_at"]),
                    )
                )
    if problems:
        raise UsageError("\n  ".join([f"the ignore file {path} is not accepted:", *problems]))
    return tuple(found)


def _wrong(row: Any) -> list[str]:
    """What entry `row` lacks, in words."""
    if not isinstance(row, Mapping):
        return ["not a mapping with id, statement and expired_at"]
    name = row.get("id")
    if not isinstance(name, str) or not name.strip():
        return ["no id"]
    wrong = [f"{name}: unknown key {key}" for key in row if key not in _KEYS]
    statement = row.get("statement")
    if not isinstance(statement, str) or not statement.strip():
        wrong.append(f"{name}: no reason (statement)")
    if not isinstance(row.get("expired_at"), date):
        wrong.append(f"{name}: no end (expired_at, a date such as 2027-01-31)")
    return wrong


def _day(value: date) -> date:
    """The date; YAML also knows times, which are dates with more to them."""
    if isinstance(value, datetime):
        return value.date()
    return value


def ignore_problems(
    ignores: Iterable[Ignore], suppressed: Iterable[Suppressed], now: datetime
) -> list[str]:
    """What is wrong with `ignores`, given what Trivy left out because of them, in words."""
    used = {(s.id, s.statement) for s in suppressed if s.status == "ignored"}
    problems = []
    for entry in ignores:
        if entry.expired(now):
            problems.append(
                f"the ignore of {entry.id} expired on {entry.expires}: fix what it is about, or"
                f" renew it with a reason that still holds (it was: {entry.statement})"
            )
        elif (entry.id, entry.statement) not in used:
            problems.append(f"the ignore of {entry.id} matches nothing: remove it")
    return problems
