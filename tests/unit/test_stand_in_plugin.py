"""The stand-in plugin's own tests, which are written in Go."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from harness.stand_ins.release import SOURCE


@pytest.mark.skipif(not shutil.which("go"), reason="go is not installed")
@pytest.mark.parametrize("check", ["vet", "test"])
def test_go_checks_of_the_stand_in_pass(check: str) -> None:
    """`go vet` and `go test` pass for the stand-in plugin."""
    done = subprocess.run(
        ["go", check, "./..."], cwd=SOURCE, check=False, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
