"""Every input in the corpus through its target, without a fuzzer: what broke once stays mended."""

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
    """What the target promises of any bytes holds for these."""
    target.run(path.read_bytes())


def test_every_corpus_has_its_target() -> None:
    """No corpus is left without a target that replays it, and no target without a corpus."""
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
    assert all(any(target.corpus.iterdir()) for target in TARGETS.values())


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_fr_019_promtool_finds_no_fault_with_any_metrics() -> None:
    """FR-019: what the metrics' inputs give is read by Prometheus's own checker too."""
    for path in sorted(TARGETS["metrics"].corpus.iterdir()):
        done = subprocess.run(
            ["promtool", "check", "metrics"],
            input=rendered(path.read_bytes()),
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, (path.name, done.stderr + done.stdout)
