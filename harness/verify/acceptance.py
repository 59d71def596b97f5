"""The acceptance run, in order."""

import os
import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

import docker

from harness import __version__
from harness.console import say
from harness.emulation import processor_for
from harness.engine import Engine
from harness.errors import NoProcessorError
from harness.proof import Environment, Proof, StandIn
from harness.regions import Region
from harness.verify.fault_checks import region_fails
from harness.verify.image_checks import check_from_outside, check_image
from harness.verify.limits import EMULATED
from harness.verify.log_checks import check_logs
from harness.verify.recorder import Recorder
from harness.verify.service_checks import ENVIRON, check_ready, check_service
from harness.verify.stop_checks import (
    check_forwarding,
    interrupted,
    restricted,
    stop_and_check,
    stopped_under_load,
    stopped_while_starting,
)
from harness.verify.target import Target, find_image

REQUIRED = (
    *(f"FR-{number:03}" for number in (*range(1, 10), *range(12, 21))),
    *("SC-001", "SC-002", "SC-003", "US-2"),
)
"""Every requirement of the image."""
ALSO_RUNNING = {"FR-007", "FR-012", "FR-015"}
"""What the image alone tells only in part."""


def verify(
    engine: Engine,
    reference: str,
    regions: tuple[Region, ...],
    *,
    full_size: bool = False,
    recorder: Recorder | None = None,
    stand_ins: tuple[StandIn, ...] = (),
) -> Proof:
    """Examine image `reference` from outside and return everything that was found.

    A bad image makes failed checks, never an exception. `recorder` may hold earlier findings,
    and `stand_ins` tells more of them than the image's label does. Raises `UsageError` when there
    is no such image, and `NoProcessorError` when it is of an architecture that cannot be run here.
    """
    started = datetime.now(UTC)
    target = Target(
        client=engine.client,
        reference=reference,
        image=find_image(engine.client, reference),
        regions=regions,
        recorder=recorder or Recorder(),
        full_size=full_size,
    )
    say(f"• verifying {reference}")
    with _runnable(engine, target) as processor:
        check_image(target)
        if steady(target):
            stopped_under_load(target)
            stopped_while_starting(target)
            interrupted(target)
            region_fails(target)
            restricted(target)
        else:
            _give_up(target)
    return Proof(
        started_at=started,
        finished_at=datetime.now(UTC),
        image=target.facts(),
        version=target.version,
        architecture=target.architecture,
        environment=describe(engine),
        stand_ins=(*((processor,) if processor else ()), *(stand_ins or target.stand_ins())),
        checks=tuple(target.recorder.checks),
        scenarios=tuple(target.scenarios),
        required=REQUIRED,
    )


@contextmanager
def _runnable(engine: Engine, target: Target) -> Iterator[StandIn | None]:
    """The image can be run for the block's time; yields the emulator when it takes one.

    Where it cannot be run, what can be seen from outside is checked before `NoProcessorError`
    says so.
    """
    with ExitStack() as stack:
        try:
            processor = stack.enter_context(processor_for(engine, target.architecture))
        except NoProcessorError as error:
            raise NoProcessorError(f"{error}; {check_from_outside(target)}") from error
        if processor:
            target.times = EMULATED
        yield processor


def _give_up(target: Target) -> None:
    """Nobody wants to wait minutes for the same answer: what was not examined is skipped."""
    checked = {check.requirement for check in target.recorder.checks}
    for requirement in REQUIRED:
        if requirement not in checked or requirement in ALSO_RUNNING:
            with target.recorder.check(requirement, "in a running container") as finding:
                finding.skip("no region was ready in the first container, so the run ends there")


def steady(target: Target) -> bool:
    """A container that comes up, serves, and is stopped while idle; False if nothing came up."""
    with target.scenario(
        "idle",
        "it comes up, serves, and SIGTERM arrives while it is idle",
        environ=ENVIRON,
        ready_limit=target.times.ready,
        stop_limit=target.times.stop,
    ) as (container, watch):
        with target.recorder.check("FR-005", "the container starts", scenario=watch.name):
            container.start(target.ports)
        check_ready(target, container, watch)
        serves = bool(watch.ready_seconds)
        if serves:
            check_service(target, container, watch)
        stop_and_check(target, container, watch, title="SIGTERM while idle")
        if serves:
            check_forwarding(target, container, watch)
        check_logs(target, container, watch)
    return serves


def describe(engine: Engine) -> Environment:
    """The machine and the tools of this run."""
    client: docker.DockerClient = engine.client
    version, info = client.version(), client.info()
    return Environment(
        engine_name="docker",
        engine_version=str(version.get("Version", "")),
        engine_api_version=str(version.get("ApiVersion", "")),
        storage_driver=str(info.get("Driver", "")),
        kernel=str(info.get("KernelVersion", "")),
        cpus=int(info.get("NCPU") or os.cpu_count() or 0),
        memory_bytes=int(info.get("MemTotal") or 0),
        python=platform.python_version(),
        harness_version=__version__,
        host_os=str(info.get("OperatingSystem", "")),
    )
