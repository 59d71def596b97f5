"""Fixtures of the e2e tests: one engine, one built image and one proof per session."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import ImageNotFound
from docker.models.containers import Container

from harness.core.errors import HarnessError
from harness.core.labels import OWNER, RUN, is_orphan, own_identity
from harness.core.proof import Proof
from harness.core.stages import BuiltImage, StandInPolicy
from harness.core.wait import wait_until
from harness.engine.provision import Engine, container_engine
from harness.machine.sweep import sweep
from harness.pipeline import BuildConfig, build, examine
from harness.report import write_reports

ImageNames = Callable[[str], str]
"""From a short name to the reference of an image of this test process."""
VERSION = "v0.1.5"
"""Of the image under test: a version that moves `latest`, as that of a release does."""


def hermetic(**changes: Any) -> BuildConfig:
    """The test build: stand-in plugins everywhere, and the real base image if available.

    `changes` are configuration fields.
    """
    usual = BuildConfig(version=VERSION, stand_ins=StandInPolicy.AUTO, plugin=StandInPolicy.ALWAYS)
    return replace(usual, **changes)


@dataclass(frozen=True)
class Variant:
    """Builds images that differ from the shipped one in one way."""

    engine: Engine
    image: BuiltImage
    broken: ImageNames

    def derived(self, directory: Path, name: str, dockerfile: str) -> str:
        """Return the reference of an image derived from the shipped one with `dockerfile`."""
        directory.joinpath("Dockerfile").write_text(
            f"FROM {self.image.reference}\n{dockerfile}", encoding="utf-8"
        )
        reference = self.broken(name)
        self.engine.client.images.build(path=str(directory), tag=reference, rm=True)
        return reference


@dataclass(frozen=True)
class Shared:
    """What one of several test processes makes, and the others use."""

    root: Path

    @contextmanager
    def once(self, name: str) -> Iterator[tuple[Path, bool]]:
        """The directory `name`, and whether the block has to fill it.

        A process waits until the one before has filled it, and fills it itself if that failed.
        """
        directory, done = self.root / name, self.root / f"{name}.done"
        with (self.root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            first = not done.exists()
            if first:
                shutil.rmtree(directory, ignore_errors=True)
                directory.mkdir()
            yield directory, first
            done.touch()


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A working engine, without containers of earlier runs."""
    with container_engine() as found:
        sweep(found.client)
        _remove_images(found, lambda owner: not Path("/proc", owner).exists())
        yield found
        _remove_images(found, lambda owner: owner == str(os.getpid()))


def _remove_images(engine: Engine, owned: Callable[[str], bool]) -> None:
    """Remove the images that tests of one process made, and no other process uses."""
    # Not images.list(): it looks at each again, and another process may just have removed it.
    for image in engine.client.api.images("finfocus-broken"):
        for reference in image["RepoTags"] or ():
            if owned(reference.rpartition("-")[2]):
                with suppress(ImageNotFound):
                    engine.client.images.remove(reference, force=True)


@pytest.fixture(scope="session")
def broken() -> ImageNames:
    """Names for images that only tests use; with the session they are removed."""
    return lambda name: f"finfocus-broken:{name}-{os.getpid()}"


@pytest.fixture(scope="session")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of this process's records and reports."""
    return tmp_path_factory.mktemp("output")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Shared:
    """Directories that all test processes of this run share.

    https://pytest-xdist.readthedocs.io/en/stable/how-to.html#making-session-scoped-fixtures-execute-only-once
    """
    own = tmp_path_factory.getbasetemp()
    return Shared(own if worker_id == "master" else own.parent)


@pytest.fixture(scope="session")
def image(engine: Engine, output: Path) -> BuiltImage:
    """The image built from this checkout; all processes but the first find it in the cache."""
    return build(engine, hermetic(output=output))


@pytest.fixture(scope="session")
def proof_directory(engine: Engine, image: BuiltImage, shared: Shared) -> Path:
    """The reports of one acceptance run on that image."""
    with shared.once("proof") as (directory, first):
        if first:
            write_reports(examine(engine, image, hermetic()), directory, environ={})
    return directory


@pytest.fixture(scope="session")
def proof(proof_directory: Path) -> Proof:
    """That run, as the reports have it."""
    written = proof_directory.joinpath("proof.json").read_bytes()
    return Proof.from_json_dict(json.loads(written))


@pytest.fixture
def variant(engine: Engine, image: BuiltImage, broken: ImageNames) -> Variant:
    """Builder of broken images."""
    return Variant(engine, image, broken)


@pytest.fixture(autouse=True)
def _nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Check that no test leaves a container behind; a test beside it may have its own."""
    yield
    shared = "service" in request.fixturenames  # lives as long as its module
    if "engine" in request.fixturenames and not shared:
        client = request.getfixturevalue("engine").client
        # A test of another worker may kill a run; it then sweeps what the run left.
        with suppress(HarnessError):
            wait_until(lambda: not _left(client), timeout=30, what="no container is left")
        for container in (left := _left(client)):  # else the next test fails for it too
            container.remove(force=True)
        assert not left, f"containers left: {[c.name for c in left]}"


def _left(client: docker.DockerClient) -> list[Container]:
    """Containers whose run is over or is this process."""
    found = client.containers.list(all=True, filters={"label": RUN}, ignore_removed=True)
    return [c for c in found if c.labels[OWNER] == own_identity() or _is_orphan(c)]


def _is_orphan(container: Container) -> bool:
    return is_orphan(container.labels, running=container.status == "running")
