"""How rows of the fault table become checks and a report."""

from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace

import pytest

from harness.core.errors import HarnessError
from harness.core.proof import Check, Status
from harness.core.recorder import Observation, Recorder
from harness.core.regions import REPOSITORY
from tests.e2e.faults import row as module
from tests.e2e.faults.report import Run, as_json, as_markdown
from tests.e2e.faults.row import Figures, Outcome, Row, run_row
from tests.e2e.faults.table import QUICK, TABLE

ROW = Row(
    name="kill-one",
    requirement="FR-017",
    done="one region: kill -9",
    promised="it restarts",
    act=lambda world: None,
)
MACHINE = {
    "machine": {
        "processors": 2,
        "memory_bytes": 2**34,
        "kernel": "6.1",
        "architecture": "amd64",
        "engine": "20",
    },
    "stand_ins": [],
}


@pytest.fixture
def outcome(monkeypatch: pytest.MonkeyPatch) -> Outcome:
    """A row that was gone in time, without a container."""
    return run(monkeypatch, 0.1)


def run(
    monkeypatch: pytest.MonkeyPatch, gone_after: float, *, lost: int = 0, error: str = ""
) -> Outcome:
    """Run `ROW` on a world that is only its outcome."""

    def act(world: object, row: Row, observation: Observation, figures: Figures) -> None:
        if error:
            raise HarnessError(error)
        observation.value, figures.recovery, figures.requests = gone_after, 0.364, 178
        figures.lines, figures.exit_code = 722, 0
        figures.notes.append("a note")

    def judge(world: object, row: Row, observation: Observation, figures: Figures) -> None:
        observation.expect(not lost, f"{lost} log lines are lost")

    monkeypatch.setattr(module, "world_of", lambda *_, **__: nullcontext())
    monkeypatch.setattr(module, "_run", act)
    monkeypatch.setattr(module, "_judge", judge)
    return run_row(None, "image", ROW, Recorder(quiet=True))  # type: ignore[arg-type]


def test_row_is_a_check(outcome: Outcome) -> None:
    """The seconds until the container is gone are compared with the row's limit."""
    check = outcome.check
    assert (check.requirement, check.scenario, check.status) == (
        "FR-017",
        "kill-one",
        Status.PASSED,
    )
    assert (check.value, check.bound, check.limit) == (0.1, 5.0, "≤ 5 s")
    assert check.measured == "178 requests, 0 failed, exit code 0, gone after 0.1 s"


def test_late_exit_and_lost_lines_fail_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every problem of a row is told, also that of the number that the recorder compares."""
    late = run(monkeypatch, 5.5, lost=3)
    assert not late.kept
    assert late.problems == (
        "3 log lines are lost",
        "gone after: 5.5 s exceeds the limit: ≤ 5 s",
    )


def test_failed_action_is_judged_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """An action that fails is a problem, and the logs are still examined."""
    failed = run(monkeypatch, 0.1, lost=3, error="the container ended")
    assert failed.problems == ("the container ended", "3 log lines are lost")


def test_table_has_the_numbers_of_the_last_run_and_the_problems_of_all(
    monkeypatch: pytest.MonkeyPatch, outcome: Outcome
) -> None:
    """A row that failed in one of several runs is marked."""
    runs = [Run(outcomes=[run(monkeypatch, 0.2, lost=3)]), Run(outcomes=[outcome])]
    start = "| `kill-one` FR-017 | one region: kill -9 | it restarts | 0 of 178 | 0.364 s |"
    last = as_markdown(MACHINE, runs).splitlines()[-1]
    assert last == f"{start} 0 of 722 | 0 | 0.1 s | ✗ 3 log lines are lost |"
    last = as_markdown(MACHINE, runs[1:]).splitlines()[-1]
    assert last == f"{start} 0 of 722 | 0 | 0.1 s | ✓ |"


def test_json_has_the_keys_of_a_check(outcome: Outcome) -> None:
    """A row in `faults.json` has the keys of a check of `proof.json`, and its figures."""
    keys = Check(requirement="FR-001", title="t", status=Status.PASSED).to_json_dict().keys()
    found = as_json(outcome)
    assert keys <= found.keys()
    assert (found["status"], found["exit_code"], found["detail"]) == ("passed", 0, "a note")


def test_lines_that_may_be_lost_are_not_counted(outcome: Outcome) -> None:
    """A row that may lose lines says why instead of a number."""
    lossy = replace(outcome, row=replace(ROW, loses_lines="the writer was killed"))
    assert as_json(lossy)["log_lines_lost"] is None
    assert "| (the writer was killed) |" in as_markdown(MACHINE, [Run(outcomes=[lossy])])


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        pytest.param([], [row for row in TABLE if row.name in QUICK], id="tests"),
        pytest.param(["-m", "faults"], [row for row in TABLE if not row.full_size], id="faults"),
        pytest.param(
            ["-m", "faults", "-k", "proxy or signal-hup"],
            [r for r in TABLE if "proxy" in r.name or "signal-hup" in r.name],
            id="words",
        ),
    ],
)
def test_pytest_selects_rows(options: list[str], rows: list[Row]) -> None:
    """`nox -s tests` selects the quick rows, `nox -s faults` all or those with a word."""
    path = "tests/e2e/faults/test_faults.py"
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", path, *options]
    command.append("--fault-report=unused")
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    found = [line.partition("[")[2] for line in done.stdout.splitlines() if "[" in line]
    assert found == [f"{row.requirement}-{row.name}]" for row in rows]
