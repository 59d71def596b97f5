"""Faults of the harness's surroundings: what it says, its exit code, and what it leaves."""

from __future__ import annotations

import resource
import signal
from contextlib import suppress
from pathlib import Path

from docker.errors import NotFound

from harness.build.assets import LOCAL_VERSION
from harness.core.labels import own_identity
from harness.core.stages import BuiltImage
from harness.engine.container import Options, created
from harness.engine.provision import Engine
from harness.kubernetes import kind

from .commands import ended, harness, ours, verifying
from .world import NAMES


def test_killed_run_is_swept(engine: Engine, image: BuiltImage, tmp_path: Path) -> None:
    """After kill -9 `harness sweep` removes what the run left, and nothing else."""
    other = created(engine.client, image.reference, NAMES, Options())
    with other as kept:
        process = verifying(engine, image, tmp_path)
        process.kill()
        process.communicate()
        assert ours(engine, process.pid) != []
        assert ended(harness("sweep"))[0] == 0
        assert ours(engine, process.pid) == []
        kept.container.reload()  # of this process, which lives


def test_nodes_of_a_killed_run_are_swept(engine: Engine, image: BuiltImage) -> None:
    """Nodes of kind go when their run is gone; those of a running one and of others stay."""
    names = {"mine": kind._name(own_identity()), "left": kind._name("1.0.boot"), "other": "kind"}
    nodes = {
        key: engine.client.containers.create(image.reference, labels={kind.CLUSTER_LABEL: name})
        for key, name in names.items()
    }
    try:
        # A sweep of a test beside this one may be first.
        assert ended(harness("sweep"))[0] == 0
        kept = {container.id for container in engine.client.containers.list(all=True)}
        assert {key for key, node in nodes.items() if node.id in kept} == {"mine", "other"}
    finally:
        for node in nodes.values():
            with suppress(NotFound):
                node.remove(force=True)


def test_full_disk_is_told(engine: Engine, image: BuiltImage, tmp_path: Path) -> None:
    """No byte can be written: code 3 and the file, no traceback."""

    def no_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    output = str(tmp_path / "out")
    code, words = ended(harness("build", LOCAL_VERSION, "--output", output, prepare=no_room), 120)
    assert code == 3, words
    assert "Check free disk space" in words


def test_two_builds_at_once_make_the_same_image(
    engine: Engine, image: BuiltImage, tmp_path: Path
) -> None:
    """Two runs on one machine do not disturb each other."""
    runs = [
        harness("-q", "build", LOCAL_VERSION, "--output", str(tmp_path / name)) for name in "ab"
    ]
    answers = [run.communicate(timeout=300)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert len({answer.split()[1] for answer in answers}) == 1
