"""A base past its support, scanned by the real Trivy as if it were a supported one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.engine.provision import Engine
from harness.scan import LayerClass, ScanReport, scan_image
from harness.scan.support import SUPPORTED
from harness.scan.tool import Trivy
from harness.stand_ins.database import KNOWN, Advisory, make_database
from tests.unit.release.saved import tarball

from .conftest import offline

ALPINE = {
    "etc/alpine-release": "3.19.9\n",
    "etc/apk/repositories": "https://dl-cdn.alpinelinux.org/alpine/v3.19/main\n",
    "lib/apk/db/installed": "C:Q1x=\nP:haproxy\nV:2.8.10-r0\nA:x86_64\no:haproxy\n\n",
}
PACKAGE = {"package": "haproxy", "severity": "CRITICAL"}
ADVISORIES = (
    Advisory(id="CVE-2099-0010", bucket="alpine 3.19", fixed="2.8.11-r0", **PACKAGE),
    Advisory(id="CVE-2099-0010", bucket=f"alpine {SUPPORTED['alpine']}", fixed="3.2-r0", **PACKAGE),
    Advisory(id="CVE-2099-0011", bucket=f"alpine {SUPPORTED['alpine']}", fixed="3.2-r1", **PACKAGE),
)


@pytest.fixture
def old_alpine(engine: Engine) -> Iterator[str]:
    """The ID of an image that says it is Alpine 3.19 with one package."""
    layer = tarball({name: text.encode() for name, text in ALPINE.items()})
    config = {
        "architecture": engine.architecture,
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "Layers": ["layer.tar"], "RepoTags": None}]
    parts = {"config.json": json.dumps(config), "manifest.json": json.dumps(manifest)}
    saved = tarball({"layer.tar": layer, **{name: text.encode() for name, text in parts.items()}})
    (image,) = engine.client.images.load(saved)
    yield str(image.id)
    engine.client.images.remove(str(image.id))


def _scan(engine: Engine, image: str, directory: Path, *advisories: Advisory) -> ScanReport:
    make_database(directory / "cache" / "db", (KNOWN, *advisories))
    return scan_image(engine, image, offline(directory / "cache"), directory / "out")


def test_end_of_life_is_scanned_again_as_a_supported_alpine(
    engine: Engine, trivy: Trivy, old_alpine: str, tmp_path: Path
) -> None:
    """What only the supported release reports is the difference; what both report is not."""
    report = _scan(engine, old_alpine, tmp_path, *ADVISORIES)
    assert report.end_of_life
    assert [finding.id for finding in report.findings] == ["CVE-2099-0010"]
    assert report.as_supported is not None
    (more,) = report.as_supported.findings
    assert (more.id, more.package, more.installed) == ("CVE-2099-0011", "haproxy", "2.8.10-r0")
    assert more.layer is LayerClass.BASE, "the image's only layer"
    assert more.places == (f"alpine {SUPPORTED['alpine']}",)
    assert f"as alpine {SUPPORTED['alpine']}: 1 critical, 0 high more" in report.verdict
    summary = report.summary.read_text(encoding="utf-8").splitlines()
    assert "has had no security fixes since 2025" in summary[0]
    assert "CVE-2099-0011" in report.summary.read_text(encoding="utf-8")
    record = json.loads((tmp_path / "out" / "scan.json").read_text(encoding="utf-8"))
    assert [found["id"] for found in record["as_supported"]["findings"]] == ["CVE-2099-0011"]
