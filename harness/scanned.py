"""The one place that the release takes the scan from.

Until `harness/scan/` is here, this is what the release needs of it, and `scan` says that it is
missing. After that it is one line: `from harness.scan import ScannedImage, ScanOptions, ...`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.engine import Engine
from harness.errors import EnvironmentMissingError
from harness.model import StandInPolicy, VerifiedImage
from harness.proof import StandIn


@dataclass(frozen=True, kw_only=True)
class ScanOptions:
    """How to scan."""

    stand_ins: StandInPolicy = StandInPolicy.NEVER


@dataclass(frozen=True, kw_only=True)
class ScanReport:
    """What a scan found."""

    image_id: str
    passed: bool
    verdict: str
    trivy_json: Path
    sarif: Path
    sbom: Path
    stand_ins: tuple[StandIn, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)

    def to_json_dict(self) -> dict[str, Any]:
        """This report in JSON types."""
        return {"passed": self.passed, "verdict": self.verdict, "image_id": self.image_id} | dict(
            self.more
        )


@dataclass(frozen=True, kw_only=True)
class ScannedImage:
    """A verified image that the gate lets pass; only `scan` makes one."""

    verified: VerifiedImage
    report: ScanReport


def scan(
    engine: Engine,  # noqa: ARG001
    verified: VerifiedImage,  # noqa: ARG001
    options: ScanOptions,  # noqa: ARG001
    output: Path,  # noqa: ARG001
) -> ScannedImage:
    """Scan the image; `EnvironmentMissingError` as long as there is no scanner."""
    raise EnvironmentMissingError("this checkout has no scan: an image is not released without")
