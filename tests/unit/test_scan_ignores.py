"""The ignore file: every entry has a reason and an expiry date, is current, and is used."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from harness.core.errors import UsageError
from harness.scan.ignores import Ignore, ignore_problems, load_ignores
from harness.scan.model import IGNORE_FILE, Severity, Suppressed

from .scan_reports import NOW

GOOD = """
vulnerabilities:
  - id: CVE-1
    paths: ["opt/finfocus/bin/*"]
    statement: the code is not reachable
    expired_at: 2027-01-31
secrets:
  - id: aws-key
    statement: an example in the documentation
    expired_at: 2027-02-01T00:00:00Z
"""


def written(tmp_path: Path, text: str, name: str = ".trivyignore.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def entry(expires: date = date(2027, 1, 1), *, id_: str = "CVE-1", why: str = "why") -> Ignore:
    return Ignore(id=id_, statement=why, expires=expires)


def left_out(id_: str = "CVE-1", why: str = "why", status: str = "ignored") -> Suppressed:
    return Suppressed(
        id=id_,
        severity=Severity.HIGH,
        source=".trivyignore.yaml",
        status=status,
        statement=why,
        places=("some",),
    )


def test_entries_are_read(tmp_path: Path) -> None:
    """Entries for vulnerabilities and secrets are read with reason and expiry date."""
    assert load_ignores(written(tmp_path, GOOD)) == (
        Ignore(id="CVE-1", statement="the code is not reachable", expires=date(2027, 1, 31)),
        Ignore(id="aws-key", statement="an example in the documentation", expires=date(2027, 2, 1)),
    )


@pytest.mark.parametrize("text", ["", "vulnerabilities:\n", "vulnerabilities: []\n"])
def test_empty_file_has_no_entries(tmp_path: Path, text: str) -> None:
    """A file without entries ignores nothing."""
    assert load_ignores(written(tmp_path, text)) == ()


def test_missing_file_is_fine_only_under_its_usual_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default file may be missing; a named one may not."""
    monkeypatch.chdir(tmp_path)
    assert load_ignores(IGNORE_FILE) == ()
    assert load_ignores(None) == ()
    with pytest.raises(UsageError, match="cannot read"):
        load_ignores(tmp_path / "other.yaml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("- id: CVE-1", "at the top", id="list"),
        pytest.param("vulnerabilities: [", "not valid YAML", id="not-yaml"),
        pytest.param("vulnerabilities: yes", "vulnerabilities: not a list", id="no-list"),
        pytest.param("vulnerabilities: [CVE-1]", "entry 1: not a mapping", id="no-mapping"),
        pytest.param("vulnerabilities: [{statement: x}]", "entry 1: no id", id="no-id"),
        pytest.param("licenses: []", "licenses: unsupported section", id="other-section"),
        pytest.param(
            "vulnerabilities: [{id: CVE-1, expired_at: 2027-01-01}]",
            "CVE-1: no reason",
            id="no-reason",
        ),
        pytest.param(
            "vulnerabilities: [{id: CVE-1, statement: ' ', expired_at: 2027-01-01}]",
            "CVE-1: no reason",
            id="blank-reason",
        ),
        pytest.param(
            "vulnerabilities: [{id: CVE-1, statement: x}]", "CVE-1: no expiry date", id="no-expiry"
        ),
        pytest.param(
            "vulnerabilities: [{id: CVE-1, statement: x, expired_at: soon}]",
            "CVE-1: no expiry date",
            id="expiry-is-no-date",
        ),
        pytest.param("vulnerabilities: !!timestamp soon", "not valid YAML", id="no-timestamp"),
        pytest.param("vulnerabilities: !!bool maybe", "not valid YAML", id="no-bool"),
        pytest.param('vulnerabilities: !!int ""', "not valid YAML", id="no-number"),
        pytest.param("vulnerabilities: 2027-13-01", "not valid YAML", id="13th-month"),
        pytest.param(
            "vulnerabilities: [{id: CVE-1, statement: x, expired_at: 2027-01-01, path: y}]",
            "CVE-1: unknown key path",
            id="misspelt-key",
        ),
    ],
)
def test_entry_without_reason_or_end_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """An entry that Trivy would accept silently is rejected with what it lacks."""
    with pytest.raises(UsageError, match=words):
        load_ignores(written(tmp_path, text))


def test_every_bad_entry_is_named_at_once(tmp_path: Path) -> None:
    """All errors are reported at once."""
    text = "vulnerabilities: [{id: CVE-1, statement: x}, {id: CVE-2, expired_at: 2027-01-01}]"
    with pytest.raises(UsageError) as caught:
        load_ignores(written(tmp_path, text))
    assert "CVE-1: no expiry date" in str(caught.value)
    assert "CVE-2: no reason" in str(caught.value)


def test_plain_list_of_ids_is_refused(tmp_path: Path) -> None:
    """Trivy's older format has neither reasons nor expiry dates."""
    with pytest.raises(UsageError, match="must be YAML"):
        load_ignores(written(tmp_path, "CVE-1\n", ".trivyignore"))


@pytest.mark.parametrize(
    ("expires", "expired"),
    [
        (date(2026, 11, 23), True),
        (date(2026, 11, 24), True),  # like Trivy: from the start of that day, in UTC
        (date(2026, 11, 25), False),
    ],
)
def test_expiry_is_the_day_it_no_longer_counts(expires: date, *, expired: bool) -> None:
    """An ignore applies until its date begins in UTC; after that it is a problem."""
    problems = ignore_problems([entry(expires)], [left_out()], NOW)
    assert bool(problems) is expired
    assert all("expired on" in problem for problem in problems)


def test_day_is_that_of_utc() -> None:
    """The local time zone does not shift the date."""
    west = datetime.fromisoformat("2026-11-24T20:00:00-08:00")
    assert entry(date(2026, 11, 25)).expired(west)
    assert not entry(date(2026, 11, 25)).expired(datetime(2026, 11, 24, 23, tzinfo=UTC))


@pytest.mark.parametrize(
    "suppressed",
    [
        pytest.param([], id="nothing-left-out"),
        pytest.param([left_out("CVE-2")], id="another-finding"),
        pytest.param([left_out(why="other entry")], id="by-another-entry"),
        pytest.param([left_out(status="not_affected")], id="by-vex"),
    ],
)
def test_ignore_that_matches_nothing_is_a_problem(suppressed: list[Suppressed]) -> None:
    """A stale ignore is named, even if something else suppressed the finding."""
    (problem,) = ignore_problems([entry()], suppressed, NOW)
    assert "CVE-1 matches nothing" in problem


def test_ignore_in_use_and_in_date_is_fine() -> None:
    """An entry that suppressed something is not a problem."""
    assert ignore_problems([entry()], [left_out(), left_out("CVE-2")], NOW) == []
