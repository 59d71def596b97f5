"""A scan without findings, for tests of later stages."""

from __future__ import annotations

import json
from pathlib import Path

from harness.core.stages import VerifiedImage
from harness.scan import ScannedImage
from tests.unit.scan_reports import database, sbom, scan_report


def scanned_image(verified: VerifiedImage, directory: Path) -> ScannedImage:
    """Return `verified` with a scan report that is marked as a stand-in."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("trivy.json", "trivy.sarif"):
        (directory / name).write_text('{"stand-in": true}', encoding="utf-8")
    names = [region.name for region in verified.built.release.regions]
    (directory / "sbom.cdx.json").write_text(json.dumps(sbom(*names)), encoding="utf-8")
    report = scan_report(
        image_id=verified.built.image_id,
        database=database(stand_in=True),
        trivy_json=directory / "trivy.json",
        sarif=directory / "trivy.sarif",
        sbom=directory / "sbom.cdx.json",
    )
    return ScannedImage(verified=verified, report=report)
