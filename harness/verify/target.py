"""The image under verification, its regions, and how to run containers of it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import docker
from docker.models.images import Image

from harness.build.image import layers_of
from harness.core.errors import HarnessError
from harness.core.labels import STAND_INS
from harness.core.proof import ImageFacts, Layer, Scenario, StandIn
from harness.core.recorder import Recorder
from harness.core.regions import METRICS_PORT, Region
from harness.engine.container import Options, RunningContainer, created
from harness.verify.budgets import Budgets, patience
from harness.verify.limits import PROMISED, TimeLimits
from harness.verify.watch import Watch

# Far more than the image needs, and few enough to protect the machine from a fork bomb.
PROCESSES = {"pids_limit": 1024}
VERSION_LABEL = "org.opencontainers.image.version"


@dataclass(kw_only=True)
class Target:
    """The image under verification and its recorder."""

    client: docker.DockerClient
    reference: str
    image: Image
    regions: tuple[Region, ...]
    recorder: Recorder
    full_size: bool = False
    times: TimeLimits = PROMISED
    ready_seconds: float = 0.0  # of the first container, as measured
    never_ready: tuple[str, ...] = ()  # regions that were not ready in the first container
    scenarios: list[Scenario] = field(default_factory=list)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the regions, in the table's order."""
        return tuple(region.name for region in self.regions)

    @property
    def config(self) -> Mapping[str, Any]:
        """The image's configuration (OCI image spec, config.md)."""
        return self.image.attrs.get("Config") or {}

    @property
    def patience(self) -> float:
        """Seconds until at least one region of the first container must be ready."""
        return patience(self.config.get("Env") or [], self.times)

    @property
    def budgets(self) -> Budgets:
        """How long the checks after the first container wait."""
        return Budgets.from_ready(self.ready_seconds, self.times, longest=self.patience)

    @property
    def labels(self) -> Mapping[str, str]:
        """The image's labels."""
        return self.config.get("Labels") or {}

    @property
    def architecture(self) -> str:
        """The image's architecture, as Docker names it."""
        return str(self.image.attrs.get("Architecture", ""))

    @property
    def version(self) -> str:
        """The plugin's version, from the image's label."""
        return self.labels.get(VERSION_LABEL, "")

    @property
    def ports(self) -> tuple[int, ...]:
        """Every port the image has to serve."""
        return (*(region.port for region in self.regions), METRICS_PORT)

    @contextmanager
    def scenario(
        self,
        name: str,
        title: str,
        *,
        environ: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
        stop_limit: float | None = None,
        ready_limit: float | None = None,
    ) -> Iterator[tuple[RunningContainer, Watch]]:
        """One lifecycle of a container, not started yet, with a watch on its timeline.

        A `HarnessError` that ends the block early becomes a failed check.
        """
        given = {**PROCESSES, **(extra or {})}
        options = Options(ports=self.ports, environ=environ or {}, extra=given)
        with created(self.client, self.reference, self.names, options) as container:
            watch = Watch(name=name, title=title, container=container, regions=self.regions)
            try:
                yield container, watch
            except HarnessError:
                with self.recorder.check("FR-005", "the container can be watched", scenario=name):
                    raise
            finally:
                watch.close()
                self.scenarios.append(watch.scenario(ready_limit, stop_limit))

    def facts(self) -> ImageFacts:
        """The image as the engine describes it."""
        attributes = self.image.attrs
        layers = layers_of(attributes, self.image.history())
        return ImageFacts(
            reference=self.reference,
            image_id=str(self.image.id),
            repo_digests=tuple(attributes.get("RepoDigests") or ()),
            architecture=str(attributes.get("Architecture", "")),
            os=str(attributes.get("Os", "")),
            created=str(attributes.get("Created", "")),
            size_bytes=int(attributes.get("Size", 0)),
            layers=tuple(Layer(**layer) for layer in layers),
            labels=dict(self.labels),
        )

    def stand_ins(self) -> tuple[StandIn, ...]:
        """The stand-ins in the image's label."""
        kinds = [kind.strip() for kind in self.labels.get(STAND_INS, "").split(",")]
        why = "declared in the image's label"
        return tuple(StandIn(kind=kind, replaces="the real one", why=why) for kind in kinds if kind)
