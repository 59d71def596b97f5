"""A sample proof, for tests and for viewing the reports without a container engine.

`python -m harness.report.sample DIRECTORY` writes its reports.
"""

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from harness.core.proof import (
    CONTAINER,
    Check,
    Environment,
    EventKind,
    ImageFacts,
    Layer,
    Proof,
    Scenario,
    StandIn,
    Status,
    TimelineEvent,
)
from harness.report import write_reports

REGIONS = (
    *("us-east-1", "us-west-2", "eu-west-1", "ap-southeast-1", "ap-southeast-2"),
    *("ap-northeast-1", "ap-south-1", "ca-central-1", "sa-east-1"),
    *("us-gov-west-1", "us-gov-east-1", "us-west-1"),
)
_STARTED = datetime(2025, 1, 14, 9, 30, tzinfo=UTC)
_MEGABYTE = 1_000_000


def sample_proof() -> Proof:
    """Return a run with restarts, a failure, a skip, stand-ins and an unchecked requirement."""
    return Proof(
        started_at=_STARTED,
        finished_at=_STARTED + timedelta(minutes=3, seconds=27.4),
        image=_image(),
        version="v0.1.0",
        architecture="amd64",
        environment=_environment(),
        stand_ins=(
            StandIn(
                kind="plugin",
                replaces="the released binaries of finfocus-plugin-aws-public",
                why="Sample data: a small server answers on each port instead.",
            ),
            StandIn(
                kind="release server",
                replaces="GitHub Releases",
                why="The tarballs were served from this machine.",
            ),
        ),
        checks=tuple(_checks()),
        scenarios=(_idle(), _while_starting(), _crash()),
        required=("FR-007", "FR-013", "FR-017", "FR-019", "SC-001", "SC-002", "SC-003", "SC-004"),
    )


def _image() -> ImageFacts:
    sizes = (7.4, 2.1, *(158.3 + 1.7 * n for n in range(len(REGIONS))), 0.004)
    steps: tuple[str, ...] = ("ADD alpine-minirootfs /", "RUN adduser -u 65532 plugin")
    steps += tuple(f"COPY plugin-{region} /opt/plugin/" for region in REGIONS)
    layers = tuple(
        Layer(digest=f"sha256:{n:064x}", size_bytes=int(size * _MEGABYTE), created_by=step)
        for n, (size, step) in enumerate(zip(sizes, (*steps, "COPY entrypoint.sh /"), strict=True))
    )
    return ImageFacts(
        reference="registry.example/finfocus-plugin-aws-public:v0.1.0",
        image_id="sha256:9f2c4e1ab37d" + "0" * 52,
        repo_digests=("registry.example/finfocus-plugin-aws-public@sha256:" + "5" * 64,),
        architecture="amd64",
        created="2025-01-14T09:21:07Z",
        size_bytes=sum(layer.size_bytes or 0 for layer in layers),
        layers=layers,
        labels={"org.opencontainers.image.version": "v0.1.0"},
    )


def _environment() -> Environment:
    return Environment(
        engine_name="docker",
        engine_version="27.3.1",
        engine_api_version="1.47",
        storage_driver="overlay2",
        kernel="6.8.0-49-generic",
        cpus=8,
        memory_bytes=16_000 * _MEGABYTE,
        python="3.11.10",
        harness_version="0.1.0",
        host_os="Ubuntu 24.04",
    )


def _checks() -> Iterator[Check]:
    idle, starting, crash = "idle", "while starting", "crash"
    yield _number("SC-001 image size", (1.8e9, 2.02e9, 2.2e9), "B")
    yield _number("SC-002 slowest region to ready", (None, 1.24, 10), "s", idle)
    yield _number("SC-003 time to stop", (None, 0.31, 5), "s", idle)
    yield _number("SC-003 time to stop", (None, 5.6, 5), "s", starting)
    yield _number("FR-015 health check answers", (None, 38, 1000), "ms", idle)
    yield _number("FR-013 regions in the log", (12, 12, None), "", idle)
    yield _number("FR-017 restarts before giving up", (3, 3, 3), "", crash)
    yield Check(
        requirement="FR-007",
        title="runs as plugin, never root",
        status=Status.PASSED,
        measured="uid 65532",
        limit="uid 65532",
        seconds=0.2,
        scenario=idle,
    )
    yield Check(
        requirement="FR-017",
        title="container exits non-zero",
        status=Status.PASSED,
        measured="exit code 1",
        limit="not 0",
        seconds=21.8,
        scenario=crash,
    )
    yield Check(
        requirement="SC-004",
        title="nothing critical or high",
        status=Status.SKIPPED,
        limit="0 findings",
        detail="trivy is not installed",
    )


def _number(
    name: str, span: tuple[float | None, float, float | None], unit: str, scenario: str = ""
) -> Check:
    """Return a check; `name` starts with the requirement, `span` is floor, value, bound."""
    floor, value, bound = span
    passed = (floor is None or floor <= value) and (bound is None or value <= bound)
    limits = ((sign, limit) for sign, limit in (("≥", floor), ("≤", bound)) if limit is not None)
    detail = "sa-east-1 ignored SIGTERM until it was ready\nand was killed after the grace period."
    return Check(
        requirement=name.partition(" ")[0],
        title=name.partition(" ")[2],
        status=Status.PASSED if passed else Status.FAILED,
        measured=_human(value, unit),
        limit=" and ".join(f"{sign} {_human(limit, unit)}" for sign, limit in limits),
        value=value,
        bound=bound,
        floor=floor,
        unit=unit,
        detail="" if passed else detail,
        seconds=min(value, 20) if unit == "s" else 0.4,
        scenario=scenario,
        headline=unit != "",
    )


def _human(value: float, unit: str) -> str:
    return f"{value / 1e9:.2f} GB" if unit == "B" else f"{value:g} {unit}".strip()


def _event(seconds: float, region: str, kind: EventKind, detail: str = "") -> TimelineEvent:
    return TimelineEvent(seconds=round(seconds, 3), region=region, kind=kind, detail=detail)


def _starts(ready_after: float) -> Iterator[TimelineEvent]:
    yield _event(0, CONTAINER, EventKind.START)
    for n, region in enumerate(REGIONS):
        yield _event(0.02 + 0.01 * n, region, EventKind.START, f"port {8001 + n}")
        yield _event(0.4 * ready_after + 0.05 * ready_after * n, region, EventKind.READY)
    yield _event(ready_after, CONTAINER, EventKind.READY, "health check passes")


def _idle() -> Scenario:
    def stop() -> Iterator[TimelineEvent]:
        yield _event(23.4, CONTAINER, EventKind.SIGNAL, "SIGTERM")
        for n, region in enumerate(REGIONS):
            yield _event(23.5 + 0.015 * n, region, EventKind.STOPPED, "exit code 0")
        yield _event(23.71, CONTAINER, EventKind.STOPPED, "exit code 0")

    return Scenario(
        name="idle",
        title="Starts, serves on all ports, and stops on SIGTERM",
        seconds=23.9,
        regions=REGIONS,
        events=(*_starts(1.24), *stop()),
        exit_code=0,
        ready_limit=10,
        stop_limit=5,
    )


def _while_starting() -> Scenario:
    events = [_event(0, CONTAINER, EventKind.START)]
    events += [_event(0.02 + 0.01 * n, r, EventKind.START) for n, r in enumerate(REGIONS)]
    events.append(_event(0.35, CONTAINER, EventKind.SIGNAL, "SIGTERM"))
    for n, region in enumerate(REGIONS):
        if region != "sa-east-1":
            events.append(_event(0.45 + 0.02 * n, region, EventKind.STOPPED, "exit code 0"))
    events.append(_event(5.8, "sa-east-1", EventKind.KILLED, "SIGKILL"))
    events.append(_event(5.95, CONTAINER, EventKind.EXIT, "exit code 137"))
    return Scenario(
        name="while starting",
        title="Receives SIGTERM before the regions are ready",
        seconds=6.1,
        regions=REGIONS,
        events=tuple(events),
        exit_code=137,
        log_tail={"sa-east-1": ('{"level":"info","region":"sa-east-1","message":"loading"}',)},
        stop_limit=5,
    )


def _crash() -> Scenario:
    crashing = "eu-west-1"
    events = list(_starts(1.3))
    events.append(_event(4, crashing, EventKind.FAULT, "its data file was removed"))
    for n, at in enumerate((4.1, 6.4, 10.6)):
        events.append(_event(at, crashing, EventKind.EXIT, "exit code 1"))
        events.append(_event(at + 1.1, crashing, EventKind.RESTART, f"restart {n + 1} of 3"))
    events.append(_event(12.4, crashing, EventKind.EXIT, "exit code 1"))
    for n, region in enumerate(REGIONS):
        if region != crashing:
            events.append(_event(12.5 + 0.01 * n, region, EventKind.STOPPED))
    events.append(_event(12.8, CONTAINER, EventKind.EXIT, "exit code 1"))
    return Scenario(
        name="crash",
        title="One region exceeds its restart limit, so the container exits",
        seconds=13,
        regions=REGIONS,
        events=tuple(events),
        exit_code=1,
        ready_limit=10,
    )


if __name__ == "__main__":
    write_reports(sample_proof(), Path(sys.argv[1]), environ=os.environ)
