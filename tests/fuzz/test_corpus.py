"""Replay every corpus input without a fuzzer, so that fixed bugs stay fixed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS
from tests.fuzz.targets.metrics import rendered
from tests.fuzz.targets.target import CORPUS, Target

INPUTS = [(target, path) for target in TARGETS.values() for path in sorted(target.corpus.iterdir())]


@pytest.mark.parametrize(
    ("target", "path"), INPUTS, ids=[f"{target.name}-{path.name}" for target, path in INPUTS]
)
def test_input_keeps_its_promise(target: Target, path: Path) -> None:
    """The target's promise holds for this input."""
    target.run(path.read_bytes())


def test_every_corpus_has_its_target() -> None:
    """Every corpus has a target, and every target has a corpus."""
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
    assert all(any(target.corpus.iterdir()) for target in TARGETS.values())


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_fr_019_promtool_finds_no_fault_with_any_metrics() -> None:
    """FR-019 (Prometheus metrics): promtool also accepts the metrics of every corpus input."""
    for path in sorted(TARGETS["metrics"].corpus.iterdir()):
        done = subprocess.run(
            ["promtool", "check", "metrics"],
            input=rendered(path.read_bytes()),
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, (path.name, done.stderr + done.stdout)
