"""Run the smoke test: cluster, image, manifests, user story, disruptions, proof."""

import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from harness import __version__
from harness.core.console import say, warn
from harness.core.errors import HarnessError
from harness.core.proof import Environment, ImageFacts, Proof, StandIn
from harness.core.recorder import Recorder
from harness.core.regions import Region
from harness.core.temporary import temporary_directory
from harness.engine.provision import Engine
from harness.engine.pull import find_image
from harness.kubernetes.admission import check_admission
from harness.kubernetes.autoscaling import check_autoscaling
from harness.kubernetes.clusters import (
    Cluster,
    ClusterKind,
    given_cluster,
    made_cluster,
)
from harness.kubernetes.disruptions import disrupt
from harness.kubernetes.gateway import check_gateway
from harness.kubernetes.images import save_images, save_regional
from harness.kubernetes.kubectl import Kubectl
from harness.kubernetes.split import split_by_region
from harness.kubernetes.stage import ALL, Installation, Stage, open_stage
from harness.kubernetes.story import tell_story
from harness.verify.target import Target

_ANOTHER_NAME = "finfocus-smoke:previous"
CLEAN_UP = "everything that the run created is removed"
REQUIRED = ("FR-007", "FR-017", "FR-019", "SC-003", "US-1")


@dataclass(frozen=True, kw_only=True)
class SmokeOptions:
    """The options of a smoke test."""

    context: Annotated[str, typer.Option(help="Existing cluster: kubeconfig context.")] = ""
    kind: Annotated[
        ClusterKind, typer.Option("--cluster", help="Cluster to create if no context is given.")
    ] = ClusterKind.AUTO
    drain: Annotated[bool, typer.Option("--drain", help="Drain a node of the context.")] = (
        False  # only of a cluster that this run did not create
    )
    upgrade_from: Annotated[
        str, typer.Option(help="Image of the earlier release for the rolling upgrade.")
    ] = ""
    upgrade_chart: Annotated[
        str, typer.Option(help="Chart of the earlier release: directory, archive or oci:// URL.")
    ] = ""
    region_images: Annotated[
        bool, typer.Option(help="Per region: pull IMAGE-REGION. A cluster of this run has them.")
    ] = False


def smoke(
    engine: Engine | None,
    image: str,
    regions: tuple[Region, ...],
    options: SmokeOptions,
    *,
    stand_ins: tuple[StandIn, ...] = (),
) -> Proof:
    """Deploy `image` with the shipped manifests, check it, and return the proof.

    `engine` has the image; it may be None if `options` name a context, whose nodes pull it.
    Misbehaviour becomes failed checks. Raises `EnvironmentMissingError` if there is no cluster.
    """
    started = datetime.now(UTC)
    recorder = Recorder()
    with _removed_afterwards(recorder) as stack:
        cluster = stack.enter_context(_cluster(options))
        environment = _describe(cluster.kubectl)
        previous, regional = options.upgrade_from, options.region_images
        if cluster.load and engine:
            previous = previous or _ANOTHER_NAME
            regional = not any("@" in reference for reference in (image, previous))
            _load(engine, cluster.load, image, previous, regions if regional else ())
        stage = stack.enter_context(
            open_stage(
                cluster,
                image,
                regions,
                recorder,
                previous=Installation(image=previous, chart=options.upgrade_chart),
                regional=regional,
            )
        )
        say(f"• smoke test of {image}")
        _every_check(stage, drain=cluster.own or options.drain)
        facts, found = _facts(engine, stage)
    added = (cluster.stand_in,) if cluster.stand_in else ()
    return Proof(
        started_at=started,
        finished_at=datetime.now(UTC),
        image=facts,
        version=facts.labels.get("org.opencontainers.image.version", ""),
        architecture=facts.architecture,
        environment=environment,
        stand_ins=(*(stand_ins or found), *added),
        checks=tuple(recorder.checks),
        required=REQUIRED,
    )


def _load(
    engine: Engine,
    load: Callable[[Path], None],
    image: str,
    previous: str,
    regions: Sequence[Region],
) -> None:
    """Load the image under test and `previous`, and from both the images of `regions`.

    `_ANOTHER_NAME` is the image under test, which pods treat as another image.
    """
    same = previous == _ANOTHER_NAME
    given = find_image(engine.client, image if same else previous)  # pulled if it is missing
    if same:
        given.tag(*_ANOTHER_NAME.split(":"))
    try:
        with temporary_directory("image") as directory:
            load(save_images(engine, [image, previous], directory))
        if regions:
            with temporary_directory("image") as directory:
                load(save_regional(engine, [image, previous], regions, directory))
    finally:
        if same:
            engine.client.images.remove(_ANOTHER_NAME)


def _every_check(stage: Stage, *, drain: bool) -> None:
    """Run the checks in order; an error between two of them becomes a failed check."""
    try:
        if tell_story(stage):
            check_admission(stage)
            disrupt(stage, drain=drain)
            check_autoscaling(stage)
            check_gateway(stage)
            stage.uninstall(ALL)
            split_by_region(stage, drain=drain)
    except HarnessError as error:
        with stage.recorder.check("US-1", "the smoke test runs to its end") as finding:
            finding.fail(str(error))


@contextmanager
def _removed_afterwards(recorder: Recorder) -> Iterator[ExitStack]:
    """Close the yielded stack after the block; a clean-up that fails becomes a failed check.

    The results of the run are worth more than its clean-up: raising here would lose the report.
    """
    stack = ExitStack()
    try:
        yield stack
    except BaseException:
        try:
            stack.close()
        except HarnessError as error:  # the reason why the run ended matters more
            warn(f"  clean-up failed: {error}")
        raise
    with recorder.check("US-1", CLEAN_UP, scenario="clean-up") as finding:
        stack.close()
        finding.measured = "removed"


@contextmanager
def _cluster(options: SmokeOptions) -> Iterator[Cluster]:
    if options.context:
        yield given_cluster(options.context)
        return
    with made_cluster(options.kind) as cluster:
        yield cluster


def _facts(engine: Engine | None, stage: Stage) -> tuple[ImageFacts, tuple[StandIn, ...]]:
    """Return the facts about the image, and the stand-ins in its label."""
    if engine:
        image = find_image(engine.client, stage.image)
        target = Target(
            client=engine.client,
            reference=stage.image,
            image=image,
            regions=stage.regions,
            recorder=stage.recorder,
        )
        return target.facts(), target.stand_ins()
    statuses = [s for pod in stage.pods() for s in pod["status"].get("containerStatuses", [])]
    known = [str(status["imageID"]) for status in statuses if status["imageID"]]
    return ImageFacts(reference=stage.image, image_id=known[0] if known else ""), ()


def _describe(kubectl: Kubectl) -> Environment:
    node = kubectl.items("nodes")[0]
    info, capacity = node["status"]["nodeInfo"], node["status"]["capacity"]
    runtime, _, version = str(info["containerRuntimeVersion"]).partition("://")
    return Environment(
        engine_name=f"Kubernetes {info['kubeletVersion']}, {runtime}",
        engine_version=version,
        engine_api_version="CRI v1",
        storage_driver="",
        kernel=str(info["kernelVersion"]),
        cpus=int(capacity["cpu"]),
        memory_bytes=int(str(capacity["memory"]).removesuffix("Ki")) * 1024,
        python=platform.python_version(),
        harness_version=__version__,
        host_os=str(info["osImage"]),
    )
