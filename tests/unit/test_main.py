"""Command exits: one sentence and a documented code, never a traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import docker.errors
import pytest

from harness import __main__, __version__
from harness.core import console
from harness.core.errors import HarnessError, ReleaseError
from harness.core.regions import REPOSITORY
from harness.machine import doctor

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """The command installs signal handlers; restore those of the tests."""
    handlers = {number: signal.getsignal(number) for number in NUMBERS}
    hook = sys.unraisablehook
    yield
    sys.unraisablehook = hook
    for number, handler in handlers.items():
        signal.signal(number, handler)


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
    """Each error becomes its exit code and one line that starts with `error:`."""

    def fail() -> None:
        raise error

    monkeypatch.setattr(doctor, "examine", fail)
    monkeypatch.setattr(__main__, "exit_interrupted", lambda: sys.exit(130))
    monkeypatch.setattr(sys, "argv", ["harness", "doctor"])
    with pytest.raises(SystemExit) as end:
        __main__.main()
    assert end.value.code == code
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert words in captured.err
    assert "Traceback" not in captured.err + captured.out


@pytest.mark.parametrize("word", ["version", "--version"])
def test_version_is_printed(
    word: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The option that most programs have does what the command does."""
    monkeypatch.setattr(sys, "argv", ["harness", word])
    with pytest.raises(SystemExit) as end:
        __main__.main()
    assert end.value.code == 0
    assert capsys.readouterr().out == f"{__version__}\n"


def test_command_of_almost_that_name_is_suggested(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A misspelt command exits with 2 and names the one that was probably meant."""
    monkeypatch.setattr(sys, "argv", ["harness", "verfy"])
    with pytest.raises(SystemExit) as end:
        __main__.main()
    assert end.value.code == 2
    assert "Did you mean 'verify'?" in capsys.readouterr().err


_MEASURING = """
import runpy, sys, time, types
suite = types.ModuleType("tests.bench.suite")
def bench(*_, **__):
    try:
        print("measuring", flush=True)
        time.sleep(60)
    finally:
        print("cleaned up", flush=True)
suite.bench = bench
sys.modules["tests.bench.suite"] = suite
sys.argv = ["bench"]
runpy.run_module("tests.bench", run_name="__main__")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_bench_that_is_interrupted_cleans_up(number: signal.Signals) -> None:
    """SIGTERM, which CI sends, unwinds the benchmark like Ctrl+C: its containers are removed."""
    command = [sys.executable, "-c", _MEASURING]
    with subprocess.Popen(
        command, cwd=REPOSITORY, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "measuring\n"
        process.send_signal(number)
        output, errors = process.communicate(timeout=20)
    assert (output, errors) == ("cleaned up\n", "error: interrupted\n")
    assert process.returncode == 130


def test_exit_codes_are_documented_and_unique() -> None:
    """Each error's exit code is in the reference table."""
    rows = (REPOSITORY / "docs" / "reference.md").read_text(encoding="utf-8").splitlines()
    table = {row.split("|")[1].strip() for row in rows if row.startswith("| ")}
    codes = {kind.exit_code for kind in _kinds(HarnessError)}
    assert {str(code) for code in codes | {0, 70, 130}} <= table


def _kinds(kind: type[HarnessError]) -> set[type[HarnessError]]:
    return {kind}.union(*(_kinds(sub) for sub in kind.__subclasses__()))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("zürich €\n\ttab", "zürich €\n\ttab", id="plain"),
        pytest.param("\x1b[31mred\x07", "\\x1b[31mred\\x07", id="escape-sequence"),
        pytest.param("a\rb\x9b1A", "a\\rb\\x9b1A", id="return-and-C1"),
        pytest.param("\u202egnp", "\\u202egnp", id="right-to-left"),
        pytest.param("\udcff", "\\udcff", id="lone-surrogate"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text: str, shown: str) -> None:
    """Terminal control characters in the image's output are shown and have no effect."""
    assert console.printable(text) == shown
