"""Temporary directories: gone after the block, and after kill -9 with the next sweep."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.core.temporary import sweep_directories, temporary_directory

LEAVE = """
import os, signal
from harness.core.temporary import temporary_directory
with temporary_directory("killed") as path:
    (path / "file").write_text("left")
    print(path, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's place for temporary files is the test's own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)


def test_directory_of_a_living_run_stays_until_its_block_ends() -> None:
    """The sweep leaves what is in use; the block's end removes it."""
    with temporary_directory("living") as path:
        assert sweep_directories() == []
        assert path.is_dir()
    assert not path.exists()


def test_directory_of_a_killed_run_is_swept(tmp_path: Path) -> None:
    """kill -9 leaves the directory, and the next sweep removes it with its content."""
    killed = subprocess.run(
        [sys.executable, "-c", LEAVE], stdout=subprocess.PIPE, text=True, check=False, timeout=20
    )
    assert killed.returncode == -signal.SIGKILL
    left = Path(killed.stdout.strip())
    assert (left / "file").exists()
    assert sweep_directories() == [left.name]
    assert not left.exists()


@pytest.mark.parametrize("name", ["finfocus-notes", "finfocus-x-nobody@1", "finfocus-x-1@y"])
def test_what_is_not_ours_is_left_alone(tmp_path: Path, name: str) -> None:
    """A directory that only looks alike stays."""
    (tmp_path / name).mkdir()
    assert sweep_directories() == []
    assert (tmp_path / name).is_dir()
