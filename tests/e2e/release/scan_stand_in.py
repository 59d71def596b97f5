"""A scan that finds nothing, for tests of what comes after the scan."""

from __future__ import annotations

from pathlib import Path

from harness.model import VerifiedImage
from harness.proof import StandIn
from harness.scanned import ScannedImage, ScanReport


def scanned_image(verified: VerifiedImage, directory: Path) -> ScannedImage:
    """`verified` with a report that says that it is a stand-in."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("trivy.json", "trivy.sarif", "sbom.cdx.json"):
        (directory / name).write_text('{"stand-in": true}', encoding="utf-8")
    report = ScanReport(
        image_id=verified.built.image_id,
        passed=True,
        verdict="passed: 0 critical, 0 high",
        trivy_json=directory / "trivy.json",
        sarif=directory / "trivy.sarif",
        sbom=directory / "sbom.cdx.json",
        stand_ins=(StandIn(kind="scan", replaces="Trivy", why="tests of the release"),),
    )
    return ScannedImage(verified=verified, report=report)
