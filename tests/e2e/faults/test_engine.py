"""An engine that is killed, cut off, slow, silent or not there: what is said and what is left."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.build.assets import LOCAL_VERSION
from harness.core.process import is_root
from harness.core.stages import BuiltImage
from harness.core.wait import wait_until
from harness.engine.provision import Engine

from .commands import ended, harness, ours, verifying, wired
from .second_engine import SecondEngine, processes_with, second_engine


@pytest.fixture(scope="module")
def second(
    engine: Engine, image: BuiltImage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SecondEngine]:
    """An engine that may be killed, with the image and its base."""
    if not (is_root() and shutil.which("dockerd") and shutil.which("ip")):
        pytest.skip("only root may start an engine, and dockerd has to be there")
    with second_engine(tmp_path_factory.mktemp("engine")) as found:
        found.load(engine, image.reference, image.base.reference)
        yield found


def test_engine_killed_within_a_run_is_told(
    second: SecondEngine, image: BuiltImage, tmp_path: Path
) -> None:
    """kill -9 of the engine while a container runs: a sentence; the next run removes the rest."""
    with second.client() as engine:
        process = verifying(engine, image, tmp_path, second.host)
        running = wait_until(
            lambda: [str(c.id) for c in engine.client.containers.list(filters={"expose": "9090"})],
            timeout=30,
            what="a container runs",
        )
    second.kill()
    code, words = ended(process, 60)
    assert code in (1, 3), words
    assert words.splitlines()[-1].startswith("error: the container engine failed"), words
    assert processes_with(running[0]), "nothing outlived the engine: the test shows nothing"
    second.start()
    code, words = ended(harness("sweep", host=second.host))
    assert code == 0, words
    with second.client() as engine:
        assert engine.client.containers.list(all=True) == []
    assert processes_with(running[0]) == []


def test_engine_killed_within_a_build_is_told(
    second: SecondEngine, image: BuiltImage, tmp_path: Path
) -> None:
    """kill -9 of the engine while it builds: a sentence and code 5; the next build works."""
    output = str(tmp_path / "out")
    process = harness("-v", "build", LOCAL_VERSION, "--output", output, host=second.host)
    assert process.stderr is not None
    for line in process.stderr:
        if "Running in" in line:
            break
    second.kill()
    code, words = ended(process, 60)
    assert code in (3, 5), words
    assert words.splitlines()[-1].startswith("error: the engine"), words
    second.start()
    code, words = ended(harness("build", LOCAL_VERSION, "--output", output, host=second.host))
    assert code == 0, words
    with second.client() as engine:
        # The engine itself keeps the ended container of the step it was killed in.
        assert engine.client.containers.list() == []


def test_engine_that_is_cut_off_is_told(engine: Engine, image: BuiltImage, tmp_path: Path) -> None:
    """The engine is out of reach but goes on: a sentence, not code 0; a sweep removes the rest."""
    with wired(engine, tmp_path) as wire:
        process = verifying(engine, image, tmp_path, wire.host)
        wire.cut()
        code, words = ended(process, 120)
    assert code in (1, 3), words
    assert words.splitlines()[-1].startswith("error: ") or "not proven" in words.lower()
    assert ended(harness("sweep"))[0] == 0
    assert ours(engine, process.pid) == []


def test_slow_engine_is_only_slow(engine: Engine, tmp_path: Path) -> None:
    """Every piece of an answer comes 50 ms late: what is found is the same."""
    with wired(engine, tmp_path, delay=0.05) as wire:
        slow = harness("doctor", "--json", host=wire.host)
        found = slow.communicate(timeout=60)[0]
    there = harness("doctor", "--json").communicate(timeout=60)[0]
    assert found.replace(wire.host, "") == there.replace(engine.host, "")


@pytest.mark.faults
def test_proof_through_a_slow_engine_holds(
    engine: Engine, image: BuiltImage, tmp_path: Path
) -> None:
    """Every piece of an answer comes 50 ms late: the image is proven all the same."""
    with wired(engine, tmp_path, delay=0.05) as wire:
        reports = str(tmp_path / "proof")
        process = harness("verify", image.reference, "--reports", reports, host=wire.host)
        code, words = ended(process, 300)
    assert code == 0, words


def test_engine_that_is_not_there_is_told(tmp_path: Path) -> None:
    """No engine at DOCKER_HOST: code 3 and what to do."""
    code, words = ended(harness("verify", "x", host=f"unix://{tmp_path}/none.sock"))
    assert code == 3
    assert "Start it or unset DOCKER_HOST" in words


def test_engine_that_never_answers_is_told(tmp_path: Path) -> None:
    """A socket that accepts and says nothing: code 3 within half a minute."""
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent.sock"))
        silent.listen(8)
        began = time.monotonic()
        code, words = ended(harness("verify", "x", host=f"unix://{tmp_path}/silent.sock"), 40)
    assert code == 3, words
    assert time.monotonic() - began < 30
