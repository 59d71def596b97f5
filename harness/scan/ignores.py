"""The ignore file: which findings are accepted, why, and until when.

Trivy defines the format and applies it. The rules here are stricter: every entry needs a reason
and an expiry date, and must match a finding.
https://trivy.dev/latest/docs/configuration/filtering/#trivyignoreyaml
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import yaml

from harness.core.errors import UsageError
from harness.core.untrusted import MALFORMED
from harness.scan.model import IGNORE_FILE, Suppressed

_SECTIONS = ("vulnerabilities", "secrets")
# PyYAML fails with the last two for `!!timestamp x`, `!!bool x` and `!!int ""`.
_NOT_YAML = (yaml.YAMLError, *MALFORMED, AttributeError, LookupError)
_KEYS = {"id", "paths", "purls", "statement", "expired_at"}


@dataclass(frozen=True, kw_only=True)
class Ignore:
    """One entry of the ignore file."""

    id: str
    statement: str
    expires: date  # the first day on which it no longer applies

    def expired(self, now: datetime) -> bool:
        """Return whether the expiry date has been reached, in UTC, as Trivy does."""
        return now.astimezone(UTC).date() >= self.expires


def load_ignores(path: Path | None) -> tuple[Ignore, ...]:
    """Return the entries of the ignore file at `path`; the default file may be missing.

    Raises `UsageError` that names each entry without an id, a reason or an expiry date.
    """
    if path is None or (path == IGNORE_FILE and not path.exists()):
        return ()
    if path.suffix not in {".yaml", ".yml"}:
        raise UsageError(f"{path}: an ignore file must be YAML, such as {IGNORE_FILE}")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the ignore file {path}: {error}") from error
    try:
        data = yaml.safe_load(text)
    except _NOT_YAML as error:
        raise UsageError(f"the ignore file {path} is not valid YAML: {error}") from error
    if not isinstance(data or {}, Mapping):
        raise UsageError(
            f"the ignore file {path} must have {' or '.join(_SECTIONS)} at the top level"
        )
    return _entries(path, data or {})


def _entries(path: Path, data: Mapping[str, Any]) -> tuple[Ignore, ...]:
    problems = [f"{key}: unsupported section" for key in data if key not in _SECTIONS]
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
        raise UsageError("\n  ".join([f"the ignore file {path} is invalid:", *problems]))
    return tuple(found)


def _wrong(row: Any) -> list[str]:
    """Describe what is wrong with entry `row`."""
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
        wrong.append(f"{name}: no expiry date (expired_at, such as 2027-01-31)")
    return wrong


def _day(value: date) -> date:
    """Return the date of a YAML date or timestamp."""
    if isinstance(value, datetime):
        return value.date()
    return value


def ignore_problems(
    ignores: Iterable[Ignore], suppressed: Iterable[Suppressed], now: datetime
) -> list[str]:
    """Report entries that have expired, and entries that suppress nothing."""
    used = {(s.id, s.statement) for s in suppressed if s.status == "ignored"}
    problems = []
    for entry in ignores:
        if entry.expired(now):
            problems.append(
                f"the ignore of {entry.id} expired on {entry.expires}: fix the finding, or"
                f" extend the ignore with a current reason (it was: {entry.statement})"
            )
        elif (entry.id, entry.statement) not in used:
            problems.append(f"the ignore of {entry.id} matches nothing: remove it")
    return problems
