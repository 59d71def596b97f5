"""The command's end: one sentence and a documented code, never a traceback."""

from __future__ import annotations

import sys

import docker.errors
import pytest

from harness import __main__, doctor
from harness.errors import HarnessError, ReleaseError
from harness.regions import REPOSITORY


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        pytest.param(ReleaseError("two are missing"), 4, "two are missing", id="expected"),
        pytest.param(KeyboardInterrupt(), 130, "interrupted", id="interrupted"),
        pytest.param(docker.errors.APIError("gone"), 3, "container engine failed", id="engine"),
        pytest.param(ZeroDivisionError("by 0"), 70, "ZeroDivisionError: by 0", id="defect"),
    ],
)
def test_every_end_is_one_sentence_and_a_code(
    error: BaseException,
    code: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What a command raises becomes its exit code and one line that begins with `error:`."""

    def fail() -> None:
        raise error

    monkeypatch.setattr(doctor, "examine", fail)
    monkeypatch.setattr(sys, "argv", ["harness", "doctor"])
    with pytest.raises(SystemExit) as end:
        __main__.main()
    assert end.value.code == code
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert words in captured.err
    assert "Traceback" not in captured.err + captured.out


def test_exit_codes_are_documented_and_unique() -> None:
    """Each error's exit code stands in the README's table."""
    rows = (REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()
    table = {row.split("|")[1].strip() for row in rows if row.startswith("| ")}
    codes = {kind.exit_code for kind in _kinds(HarnessError)}
    assert {str(code) for code in codes | {0, 70, 130}} <= table


def _kinds(kind: type[HarnessError]) -> set[type[HarnessError]]:
    return {kind}.union(*(_kinds(sub) for sub in kind.__subclasses__()))
