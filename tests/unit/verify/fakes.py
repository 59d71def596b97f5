"""A fake image and container for the acceptance run, without an engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast
from unittest.mock import MagicMock

import docker
from docker.models.images import Image

from harness.core.recorder import Recorder
from harness.core.regions import Region, load_regions
from harness.engine.container import RunningContainer
from harness.engine.logs import LogStream
from harness.verify.target import Target
from harness.verify.watch import Watch

REGIONS = load_regions()
NAMES = tuple(region.name for region in REGIONS)


class FakeLog:
    """The engine's output of a container's log."""

    def __init__(self, *lines: str) -> None:
        self._lines = lines

    def logs(self, **_: object) -> Iterator[bytes]:
        yield from (f"{line}\n".encode() for line in self._lines)


class FakeContainer:
    """A container that runs until a test stops it."""

    def __init__(self, *lines: str) -> None:
        self._lines = lines
        self.log = LogStream(cast("Any", FakeLog()), NAMES)
        self.dead = threading.Event()
        self.exit_code: int | None = None
        self.started_at = time.monotonic()
        self.ended_at = 0.0
        self.host_ports: dict[int, int] = {}
        self.container = MagicMock()

    def start(self, _ports: object = ()) -> None:
        self.log = LogStream(cast("Any", FakeLog(*self._lines)), NAMES)
        self.log.start()

    def end(self) -> None:
        self.exit_code, self.ended_at = 7, time.monotonic()
        self.dead.set()

    def wait_dead(self, timeout: float) -> bool:
        return self.dead.wait(timeout)

    def obituary(self) -> str:
        return f"the container ended with exit code {self.exit_code}"

    def expect_alive(self) -> None:
        assert not self.dead.is_set()


@dataclass
class FakeEngine:
    """An engine of this architecture with nothing in it."""

    client: Any = None
    architecture: str = "amd64"


def image_of(*environ: str) -> Image:
    """Return an image with these variables."""
    attributes = {"Config": {"Env": list(environ)}, "Architecture": "amd64", "Size": 1}
    return cast("Image", FakeImage(attributes))


@dataclass
class FakeImage:
    """The engine's description of an image."""

    attrs: Mapping[str, Any]
    id: str = "sha256:0"

    def history(self) -> list[Any]:
        return []


@dataclass(kw_only=True)
class FakeTarget(Target):
    """A target whose scenarios each run on one fake container."""

    client: docker.DockerClient = field(default_factory=lambda: cast("Any", None))
    reference: str = "image"
    image: Image = field(default_factory=image_of)
    regions: tuple[Region, ...] = REGIONS
    recorder: Recorder = field(default_factory=Recorder)
    container: FakeContainer = field(default_factory=FakeContainer)
    names_of_scenarios: list[str] = field(default_factory=list)

    @contextmanager
    def scenario(
        self, name: str, title: str, **_: object
    ) -> Iterator[tuple[RunningContainer, Watch]]:
        self.names_of_scenarios.append(name)
        yield real(self.container), watch_of(self.container, self.regions, name, title)


def real(container: FakeContainer) -> RunningContainer:
    """Return the fake, typed as the checks expect."""
    return cast("RunningContainer", container)


def watch_of(
    container: FakeContainer,
    regions: tuple[Region, ...] = REGIONS,
    name: str = "idle",
    title: str = "",
) -> Watch:
    """Return a watch on a fake container."""
    return Watch(name=name, title=title, container=real(container), regions=regions)
