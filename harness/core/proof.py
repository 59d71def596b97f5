"""What a verification run found, as plain data.

The checks fill these dataclasses and the report writers read them. Nothing here opens a file,
runs a command or reads the clock. Durations are seconds and sizes are bytes everywhere.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from harness.core.decode import decode, encode

SCHEMA_VERSION = 1
"""Version of the JSON format. It increases only when an old reader would misread a new file."""

CONTAINER = "-"
"""The `TimelineEvent.region` of an event that concerns the container, not one region."""


class Status(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


MARKS = {Status.PASSED: "✓", Status.FAILED: "✗", Status.SKIPPED: "\u2013"}
"""How a status is shown where there is room for one character."""


class EventKind(StrEnum):
    """What happened to a region, or to the container, at one moment of a scenario."""

    START = "start"  # the process was started
    READY = "ready"  # its endpoint answered for the first time
    DOWN = "down"  # its endpoint stopped answering
    UP = "up"  # its endpoint answers again
    EXIT = "exit"  # the process exited on its own
    RESTART = "restart"  # the supervisor started it again
    FAULT = "fault"  # the scenario broke something on purpose
    SIGNAL = "signal"  # a signal was sent
    KILLED = "killed"  # it was killed with SIGKILL
    STOPPED = "stopped"  # it stopped on request


@dataclass(frozen=True, kw_only=True)
class Check:
    """One claim, what was measured, and the verdict.

    Verification, smoke test, fault table and bench all report checks. Several checks may serve
    one requirement. A pass is `floor <= value <= bound` for a check that measures a number; either
    limit may be absent. The reports never compute the status; they only draw these numbers.
    """

    requirement: str  # requirement id: "FR-013", "SC-002", "US-1"; the bench has its groups
    title: str  # what must hold, in a few words
    status: Status
    measured: str = ""  # for people: "1.24 s"
    limit: str = ""  # for people: "≤ 10 s"
    value: float | None = None  # the measured number, in `unit`
    bound: float | None = None  # the largest value allowed, in `unit`
    floor: float | None = None  # the smallest value allowed, in `unit`
    unit: str = ""  # "s", "ms", "B", or "" for a plain count
    detail: str = ""  # why it failed or was skipped; may have several lines
    seconds: float = 0.0  # how long the check took
    scenario: str = ""  # `Scenario.name` it ran in; "" if it needs no container
    headline: bool = False  # show it as a key figure at the top of the page

    def __post_init__(self) -> None:
        if self.status is Status.SKIPPED and not self.detail.strip():
            raise ValueError(f"{self.requirement} {self.title}: a skipped check needs a reason")
        for number in (self.value, self.bound, self.floor, self.seconds):
            if number is not None and not math.isfinite(number):
                raise ValueError(
                    f"{self.requirement} {self.title}: {number} is not a finite number"
                )

    def to_json_dict(self) -> dict[str, Any]:
        """This check in JSON types, described by `#/$defs/Check` of `proof.schema.json`."""
        plain: dict[str, Any] = encode(self)
        return plain


@dataclass(frozen=True, kw_only=True)
class TimelineEvent:
    """Something that happened during a scenario."""

    seconds: float  # since the scenario started
    region: str  # "us-east-1", or `CONTAINER`
    kind: EventKind
    detail: str = ""  # "SIGTERM", "exit code 1", …


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One lifecycle of a container, from start to exit, as observed."""

    name: str  # short and unique in the proof: "idle", "under load", "while starting"
    title: str  # what the scenario shows, as a sentence
    seconds: float  # how long it was watched
    regions: tuple[str, ...] = ()
    events: tuple[TimelineEvent, ...] = ()
    exit_code: int | None = None  # of the container; None if it never exited
    log_tail: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # region: last lines
    ready_limit: float | None = None  # seconds from the start until all regions must be ready
    stop_limit: float | None = None  # seconds from the signal until the container must exit


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """A part that replaced the real one; reports always name it."""

    kind: str  # "base image", "plugin", "processor", "release server", "engine", "registry", …
    replaces: str  # the real thing
    why: str  # why the real thing was not used


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of the image, the lowest first."""

    digest: str  # "sha256:…"
    size_bytes: int | None  # None if the engine does not report it
    created_by: str = ""  # the build instruction


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """The image that was verified, as the engine describes it."""

    reference: str  # as requested: "ghcr.io/owner/name:v0.1.0"
    image_id: str  # "sha256:…"
    repo_digests: tuple[str, ...] = ()
    architecture: str = ""
    os: str = "linux"
    created: str = ""  # RFC 3339, from the image
    size_bytes: int = 0
    layers: tuple[Layer, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Environment:
    """The machine and the tools the verification ran on."""

    engine_name: str  # "docker", "podman"
    engine_version: str
    engine_api_version: str
    storage_driver: str
    kernel: str
    cpus: int
    memory_bytes: int
    python: str
    harness_version: str
    host_os: str


@dataclass(frozen=True, kw_only=True)
class Proof:
    """All results of one verification run on one image."""

    started_at: datetime  # with a time zone
    finished_at: datetime  # with a time zone
    image: ImageFacts
    version: str  # of the plugin: "v0.1.0"
    architecture: str  # "amd64", "arm64"
    environment: Environment
    stand_ins: tuple[StandIn, ...] = ()
    checks: tuple[Check, ...] = ()
    scenarios: tuple[Scenario, ...] = ()
    required: tuple[str, ...] = ()  # requirement ids the run set out to check
    regions: tuple[str, ...] = ()  # in the image; () if not recorded
    left_out: tuple[str, ...] = ()  # regions of the table that the image was built without
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        for moment in (self.started_at, self.finished_at):
            if moment.tzinfo is None:
                raise ValueError(f"the time {moment.isoformat()} has no time zone")

    @property
    def seconds(self) -> float:
        """How long the whole run took."""
        return (self.finished_at - self.started_at).total_seconds()

    @property
    def counts(self) -> dict[Status, int]:
        """How many checks ended in each status; every status is present."""
        return {status: sum(c.status is status for c in self.checks) for status in Status}

    @property
    def proven(self) -> bool:
        """Whether at least one check passed and none failed."""
        return self.counts[Status.PASSED] > 0 and self.counts[Status.FAILED] == 0

    @property
    def outcome(self) -> str:
        """The verdict without numbers; with stand-ins it is never just "proven"."""
        if not self.proven:
            return "not proven"
        kinds = ", ".join(dict.fromkeys(stand_in.kind for stand_in in self.stand_ins))
        return f"proven with stand-ins: {kinds}" if kinds else "proven"

    @property
    def tally(self) -> str:
        """Number of checks by status, and the regions that the image lacks."""
        count = self.counts
        tally = ", ".join(f"{count[status]} {status}" for status in Status if count[status])
        return "; ".join(filter(None, [tally or "no checks", self.coverage]))

    @property
    def coverage(self) -> str:
        """Which of the table's regions the image has; "" if it has all."""
        if not self.left_out:
            return ""
        total = len(self.regions) + len(self.left_out)
        return f"{len(self.regions)} of {total} regions; left out: {', '.join(self.left_out)}"

    @property
    def verdict(self) -> str:
        """The outcome in one line."""
        return f"{self.outcome}: {self.tally}"

    def by_requirement(self) -> dict[str, tuple[Check, ...]]:
        """The checks of each requirement, requirements in the order of their ids."""
        ids = sorted({check.requirement for check in self.checks}, key=_id_order)
        return {id_: tuple(c for c in self.checks if c.requirement == id_) for id_ in ids}

    def requirements_without_check(self, required: Sequence[str]) -> tuple[str, ...]:
        """Those of `required` without a check, each once, in the order of ids."""
        checked = {check.requirement for check in self.checks}
        return tuple(sorted(set(required) - checked, key=_id_order))

    def to_json_dict(self) -> dict[str, Any]:
        """This proof in JSON types, described by `harness/report/proof.schema.json`."""
        plain: dict[str, Any] = encode(self)
        # Derived, for readers that need only the result; `from_json_dict` ignores them.
        return {**plain, "proven": self.proven, "verdict": self.verdict}

    @classmethod
    def from_json_dict(cls, data: Mapping[str, Any]) -> "Proof":
        """The proof that `to_json_dict` wrote; `ValueError` if `data` is not a proof."""
        version = data.get("schema_version")
        if version != SCHEMA_VERSION:
            raise ValueError(
                f"this proof has schema version {version!r},"
                f" but this harness reads only version {SCHEMA_VERSION}"
            )
        proof: Proof = decode(cls, data, "proof")
        return proof


def _id_order(requirement: str) -> tuple[str, int, str]:
    """Sort key that puts FR-9 before FR-10."""
    match = re.search(r"\d+", requirement)
    return requirement.partition("-")[0], int(match.group()) if match else 0, requirement
