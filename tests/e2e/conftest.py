"""Fixtures of the e2e tests: one engine, one built image and one proof per session."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from harness.core.labels import RUN
from harness.core.proof import Proof
from harness.core.stages import BuiltImage, StandInPolicy
from harness.engine.provision import Engine, container_engine
from harness.machine.sweep import sweep
from harness.pipeline import BuildConfig, build, examine
from harness.report import write_reports

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

    def derived(self, directory: Path, name: str, dockerfile: str) -> str:
        """Return the reference of an image derived from the shipped one with `dockerfile`."""
        directory.joinpath("Dockerfile").write_text(
            f"FROM {self.image.reference}\n{dockerfile}", encoding="utf-8"
        )
        reference = f"finfocus-broken:{name}"
        self.engine.client.images.build(path=str(directory), tag=reference, rm=True)
        return reference


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A working engine, without containers of earlier runs."""
    with container_engine() as found:
        sweep(found.client)
        yield found
        for image in found.client.images.list("finfocus-broken"):
            found.client.images.remove(str(image.id), force=True)


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
def variant(engine: Engine, image: BuiltImage) -> Variant:
    """Builder of broken images."""
    return Variant(engine, image)


@pytest.fixture(autouse=True)
def _nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Check that no test leaves a container behind."""
    yield
    shared = "service" in request.fixturenames  # lives as long as its module
    if "engine" in request.fixturenames and not shared:
        engine = request.getfixturevalue("engine")
        left = engine.client.containers.list(all=True, filters={"label": RUN}, ignore_removed=True)
        assert not left, f"containers left: {[c.name for c in left]}"
