"""The acceptance run, in order."""

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import docker

from harness import __version__
from harness.core.console import say
from harness.core.errors import NoProcessorError
from harness.core.proof import Environment, Proof, StandIn
from harness.core.recorder import Recorder
from harness.core.regions import Region
from harness.engine.container import RunningContainer
from harness.engine.emulation import processor_for
from harness.engine.provision import Engine
from harness.engine.pull import find_image
from harness.verify.environment_checks import ENVIRON
from harness.verify.fault_checks import region_fails
from harness.verify.image_checks import check_from_outside, check_image
from harness.verify.limits import EMULATED, PROMISED, TimeLimits
from harness.verify.log_checks import check_logs
from harness.verify.ready_checks import check_ready
from harness.verify.service_checks import check_answers, check_service
from harness.verify.stop_checks import (
    check_forwarding,
    interrupted,
    restricted,
    stop_and_check,
    stopped_under_load,
    stopped_while_starting,
)
from harness.verify.target import Target
from harness.verify.watch import Watch

REQUIRED = (
    *(f"FR-{number:03}" for number in (*range(1, 10), *range(12, 21))),
    *("SC-001", "SC-002", "SC-003", "US-2"),
)
"""Every requirement of the image."""
IN_BRIEF = tuple(id_ for id_ in REQUIRED if id_ not in {"FR-014", "FR-017", "FR-018", "US-2"})
"""Requirements that the brief examination checks."""
ALSO_RUNNING = {"FR-007", "FR-012", "FR-015"}
"""Requirements that also need a running container."""
NEEDS_NO_CONTAINER = {"FR-018"}
"""Requirements that only a build can show."""
Service = Callable[[Target, RunningContainer, Watch], None]
"""Checks of a container that is ready."""


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What a run checks."""

    required: tuple[str, ...]  # requirement ids
    run: Callable[[Target], None]


def verify(
    engine: Engine,
    reference: str,
    regions: tuple[Region, ...],
    *,
    full_size: bool = False,
    recorder: Recorder | None = None,
    stand_ins: tuple[StandIn, ...] = (),
    times: TimeLimits = PROMISED,
    examination: Examination | None = None,
) -> Proof:
    """Examine image `reference` from outside and return all results.

    A bad image results in failed checks, never an exception. `recorder` may hold earlier findings,
    and `stand_ins` has more details than the image's label. `times` are the limits: the promised
    ones, or stricter. `examination` is `COMPLETE` by default. Raises `UsageError` if there is no
    such image, and `NoProcessorError` if its architecture cannot be run here.
    """
    started = datetime.now(UTC)
    examination = examination or COMPLETE
    target = Target(
        client=engine.client,
        reference=reference,
        image=find_image(engine.client, reference),
        regions=regions,
        recorder=recorder or Recorder(),
        full_size=full_size,
        times=times,
    )
    say(f"• verifying {reference}")
    with _runnable(engine, target) as processor:
        examination.run(target)
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
        required=examination.required,
    )


def _complete(target: Target) -> None:
    check_image(target)
    if unusable := steady(target):
        _give_up(target, unusable)
    else:
        stopped_under_load(target)
        stopped_while_starting(target)
        interrupted(target)
        region_fails(target)
        restricted(target)


def _brief(target: Target) -> None:
    check_image(target)
    steady(target, service=check_answers)


COMPLETE = Examination(required=REQUIRED, run=_complete)
BRIEF = Examination(required=IN_BRIEF, run=_brief)
"""One container: it starts, answers, logs and stops. For images of parts proven elsewhere."""


@contextmanager
def _runnable(engine: Engine, target: Target) -> Iterator[StandIn | None]:
    """Let the image run for the duration of the block; yields the emulator if it needs one.

    If it cannot run, check what is visible from outside before raising `NoProcessorError`.
    """
    with ExitStack() as stack:
        try:
            processor = stack.enter_context(processor_for(engine, target.architecture))
        except NoProcessorError as error:
            raise NoProcessorError(f"{error}; {check_from_outside(target)}") from error
        if processor:
            target.times = EMULATED
        yield processor


def _give_up(target: Target, reason: str) -> None:
    """Skip the requirements that need a usable container, and state why there is none."""
    checked = {check.requirement for check in target.recorder.checks} | NEEDS_NO_CONTAINER
    for requirement in REQUIRED:
        if requirement not in checked or requirement in ALSO_RUNNING:
            with target.recorder.check(requirement, "in a running container") as finding:
                finding.skip(f"{reason}: no other container was started")


def steady(target: Target, service: Service | None = None) -> str:
    """Start a container, check its `service`, `check_service` by default, and stop it while idle.

    Returns why the service cannot be checked, or "" if at least one region was ready.
    """
    with target.scenario(
        "idle",
        "the container starts, serves, and receives SIGTERM while idle",
        environ=ENVIRON,
        ready_limit=target.times.ready,
        stop_limit=target.times.stop,
    ) as (container, watch):
        with target.recorder.check("FR-005", "the container starts", scenario=watch.name):
            container.start(target.ports)
        check_ready(target, container, watch)
        unusable = why_unusable(target, container, watch)
        if not unusable:
            (service or check_service)(target, container, watch)
        stop_and_check(target, container, watch, title="SIGTERM while idle")
        if not unusable:
            check_forwarding(target, container, watch)
        check_logs(target, container, watch)
    return unusable


def why_unusable(target: Target, container: RunningContainer, watch: Watch) -> str:
    """Why the first container's service cannot be checked, "" if it can."""
    if container.dead.is_set():
        return "the first container ended before it could be checked"
    if not watch.ready_seconds:
        return f"no region of the first container was ready within {target.patience:g} s"
    return ""


def describe(engine: Engine) -> Environment:
    """The machine and tools of this run."""
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
