"""Shell completion of the command `harness`, however it is started."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cli import entry

Call = Callable[..., str]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a command with more environment variables; return its stdout."""
    monkeypatch.setattr(entry, "_listen", lambda: None)
    monkeypatch.setattr(entry, "ignore_signals", lambda: None)
    # Without it Typer detects the shell that started the process, which a test cannot choose.
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")

    def run(*arguments: str, **environ: str) -> str:
        monkeypatch.setattr("sys.argv", ["__main__.py", *arguments])
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        assert entry.run() == 0
        return capsys.readouterr().out

    return run


def test_completion_is_installed(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--install-completion` adds a script to the shell's start-up file."""
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    call("--install-completion", "bash")
    script = tmp_path / ".bash_completions" / "harness.sh"
    assert str(script) in (tmp_path / ".bashrc").read_text(encoding="utf-8")
    assert "_HARNESS_COMPLETE" in script.read_text(encoding="utf-8")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_is_shown(call: Call, shell: str) -> None:
    """The script completes the command `harness` through its environment variable."""
    script = call("--show-completion", shell)
    assert "_HARNESS_COMPLETE" in script
    assert "main" not in script


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("harness build --arch ", {"amd64", "arm64"}),
        ("harness prove --stand-ins ", {"auto", "always", "never"}),
        ("harness wait", {"wait-release"}),
    ],
    ids=["architecture", "stand-ins", "command"],
)
def test_values_are_completed(call: Call, words: str, values: set[str]) -> None:
    """Commands and the values of options are completed."""
    count = str(len(words.split(" ")) - 1)
    found = call(_HARNESS_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=count)
    assert set(found.split()) == values
