"""Ctrl+C at every stage: one word, code 130, and nothing left."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest

from harness.core.regions import load_regions
from harness.core.stages import BuiltImage
from harness.engine.provision import Engine

from .commands import ended, harness, ours, verifying, wired

REGIONS = len(load_regions())
END = (130, "error: interrupted")
# The words that begin each stage of `harness prove`, in order; those that come late are marked.
STAGES = {
    "base": ("• pulling ", False),
    "release": (f"• checking the {REGIONS} assets", False),
    "build": ("• building finfocus-plugin-aws-public", False),
    "broken-build": ("• building finfocus-fr-018", False),
    "verification": ("• verifying ", False),
    "image": ("FR-004 the image's files can be listed", False),
    "start": ("FR-005 the container starts", False),
    "service": (f"SC-002 all {REGIONS} regions answer", False),
    "stop": ("FR-015 the health check fails and names", False),
    "load": ("SC-003 SIGTERM while idle", True),
    "starting": ("SC-003 SIGTERM under load", True),
    "ctrl-c": ("SC-003 SIGTERM while starting", True),
    "fault": ("US-2 ", True),
    "restarts": ("FR-017 a killed region answers again", True),
    "restricted": ("FR-017 a region that exceeds its restart", True),
}
PARAMETERS = [
    pytest.param(words, marks=pytest.mark.faults if late else (), id=stage)
    for stage, (words, late) in STAGES.items()
]


@pytest.mark.parametrize("words", PARAMETERS)
def test_proof_that_is_interrupted_leaves_nothing(
    engine: Engine, image: BuiltImage, tmp_path: Path, words: str
) -> None:
    """Ctrl+C just after `words`: one word, code 130, and no container, directory or process."""
    if "pulling" in words and not image.base.stand_in:
        pytest.skip("the base image is there: nothing is pulled")
    places = ("--output", str(tmp_path / "out"), "--reports", str(tmp_path / "proof"))
    process = harness("prove", *places, session=True)
    _await_words(process, words)
    os.killpg(process.pid, signal.SIGINT)
    code, said = ended(process, 30)
    assert (code, said.splitlines()[-1]) == END
    assert _left(engine, process.pid) == []
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_signal_that_comes_twice_at_once_leaves_nothing(
    engine: Engine, image: BuiltImage, tmp_path: Path, number: signal.Signals
) -> None:
    """A wrapper passes on what the terminal has sent already: the run cleans up all the same."""
    process = verifying(engine, image, tmp_path)
    process.send_signal(number)
    time.sleep(0.02)  # two signals of one kind that both wait are one
    process.send_signal(number)
    code, said = ended(process)
    assert (code, said.splitlines()[-1]) == END
    assert _left(engine, process.pid) == []


def test_second_interrupt_ends_at_once(engine: Engine, image: BuiltImage, tmp_path: Path) -> None:
    """Ctrl+C again while the engine is too slow to clean up: no wait; the next run sweeps."""
    with wired(engine, tmp_path) as wire:
        process = verifying(engine, image, tmp_path, wire.host)
        wire.stand_still()
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.send_signal(signal.SIGINT)
        code, said = ended(process, 5)
    assert (code, said.splitlines()[-1]) == END
    assert ended(harness("sweep"))[0] == 0
    assert _left(engine, process.pid) == []


def _await_words(process: subprocess.Popen[str], words: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            return
    pytest.fail(f"it ended and never said {words!r}")


def _left(engine: Engine, pid: int) -> list[str]:
    """Containers, temporary directories, and processes of the session, of the run `pid`."""
    found = ours(engine, pid)
    for parent in {tempfile.gettempdir(), "/dev/shm"}:
        found += [str(path) for path in Path(parent).glob(f"finfocus-*-{pid}.*@*")]
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, _, session = stat.read_text(errors="replace").rpartition(")")[2].split()[:4]
            if session == str(pid) and state not in "ZX":
                found.append((stat.parent / "cmdline").read_text(errors="replace"))
    return found
