"""Temporary directories: removed after the block, or by the next sweep after kill -9."""

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
    """Use the test's own directory for temporary files."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)


def test_directory_of_a_living_run_stays_until_its_block_ends() -> None:
    """The sweep keeps a directory in use; the end of the block removes it."""
    with temporary_directory("living") as path:
        assert sweep_directories() == []
        assert path.is_dir()
    assert not path.exists()


def test_directory_of_a_killed_run_is_swept(tmp_path: Path) -> None:
    """After kill -9 the directory remains, and the next sweep removes it."""
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
    """A directory with only a similar name is kept."""
    (tmp_path / name).mkdir()
    assert sweep_directories() == []
    assert (tmp_path / name).is_dir()
