"""Fixtures of the e2e tests: one engine, one built image and one proof per session."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
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
    """Directory of this run's records and reports."""
    return tmp_path_factory.mktemp("output")


@pytest.fixture(scope="session")
def image(engine: Engine, output: Path) -> BuiltImage:
    """The image built from this checkout."""
    return build(engine, hermetic(output=output))


@pytest.fixture(scope="session")
def proof(engine: Engine, image: BuiltImage, output: Path) -> Proof:
    """The proof of that image, also written as reports."""
    found = examine(engine, image, hermetic())
    write_reports(found, output / "proof", environ={})
    return found


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
