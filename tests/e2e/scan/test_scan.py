"""Scans of the built image with the real Trivy: planted findings, ignores, VEX and files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harness.core.errors import ScanGateError, UsageError
from harness.core.proof import Proof, Status
from harness.core.recorder import Recorder
from harness.core.regions import load_regions
from harness.core.stages import BuiltImage, VerifiedImage
from harness.engine.provision import Engine
from harness.engine.pull import find_image
from harness.scan import (
    EndOfLife,
    LayerClass,
    ScanOptions,
    ScanReport,
    Severity,
    passed,
    scan,
    scan_image,
)
from harness.scan.tool import PINNED, Trivy, compiled
from harness.stand_ins.database import KNOWN, Advisory, make_database
from harness.verify.acceptance import describe
from harness.verify.target import Target

from ..conftest import Variant
from .conftest import PLANTED, offline
from .database_registry import DatabaseRegistry

REGIONS = [region.name for region in load_regions()]
TODAY = datetime.now(UTC).date()


@dataclass(frozen=True)
class Scanner:
    """Scans the built image, or another, into its own directory."""

    engine: Engine
    image: BuiltImage
    directory: Path

    @property
    def output(self) -> Path:
        return self.directory / "out"

    def report(self, options: ScanOptions, reference: str = "") -> ScanReport:
        return scan_image(self.engine, reference or self.image.image_id, options, self.output)

    def ignore(self, expires: object) -> Path:
        path = self.directory / "ignore.yaml"
        entry = f"- id: {PLANTED.id}\n    statement: planted\n    expired_at: {expires}"
        path.write_text(f"vulnerabilities:\n  {entry}\n", encoding="utf-8")
        return path


@pytest.fixture
def scanner(engine: Engine, image: BuiltImage, trivy: Trivy, tmp_path: Path) -> Scanner:
    """A scanner of the built image."""
    return Scanner(engine, image, tmp_path)


@pytest.fixture(scope="module")
def verified(engine: Engine, image: BuiltImage) -> VerifiedImage:
    """The image with an empty proof: the scan does not depend on it."""
    target = Target(
        client=engine.client,
        reference=image.reference,
        image=find_image(engine.client, image.image_id),
        regions=load_regions(),
        recorder=Recorder(),
    )
    now = datetime.now(UTC)
    proof = Proof(
        started_at=now,
        finished_at=now,
        image=target.facts(),
        version=image.version,
        architecture=image.architecture,
        environment=describe(engine),
    )
    return VerifiedImage(built=image, proof=proof)


def test_sc_004_clean_image_passes_with_every_file(
    scanner: Scanner, verified: VerifiedImage, trivy: Trivy, clean_cache: Path
) -> None:
    """SC-004: nothing known is found, and JSON, SARIF, SBOM, record and summary are written."""
    (scanner.output / ".finfocus-scan-killed").mkdir(parents=True)  # what kill -9 leaves
    scanned = scan(scanner.engine, verified, offline(clean_cache), scanner.output)
    report = scanned.report
    assert scanned.verified.built is verified.built
    assert report.image_id == verified.built.image_id
    assert (report.passed, report.counts, report.trivy_version) == (True, (), trivy.version)
    assert sorted(report.binaries) == sorted(REGIONS)
    assert {path.name for path in scanner.output.iterdir()} == {
        *("trivy.json", "trivy.sarif", "sbom.cdx.json", "scan.json", "scan.md")
    }
    assert report.stand_ins
    assert "Stand-in vulnerability database" in report.summary.read_text(encoding="utf-8")
    raw = json.loads(report.trivy_json.read_text(encoding="utf-8"))
    assert raw["ArtifactName"] == verified.built.reference
    assert str(scanner.directory) not in report.trivy_json.read_text(encoding="utf-8")
    sc_004 = scanned.verified.proof.by_requirement()["SC-004"]
    assert [c.status for c in sc_004] == [Status.SKIPPED, Status.PASSED, Status.PASSED]


def test_sbom_has_every_module_of_every_binary(
    scanner: Scanner, clean_cache: Path, tmp_path: Path
) -> None:
    """The SBOM's modules of a binary are those that Go reads from it."""
    report = scanner.report(offline(clean_cache))
    name = load_regions()[0].binary
    container = scanner.engine.client.containers.create(scanner.image.image_id)
    try:
        chunks, _ = container.get_archive(f"/opt/finfocus/bin/{name}")
        (tmp_path / "binary.tar").write_bytes(b"".join(chunks))
    finally:
        container.remove()
    subprocess.run(["tar", "-xf", "binary.tar"], cwd=tmp_path, check=True)
    told = subprocess.run(
        ["go", "version", "-m", name], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    rows = [line.split() for line in told.splitlines()]
    expected = {f"pkg:golang/{row[1]}@{row[2]}" for row in rows if row[0] == "dep"}
    assert len(expected) >= 5
    sbom = json.loads(report.sbom.read_text(encoding="utf-8"))
    assert (sbom["bomFormat"], sbom["specVersion"][:2]) == ("CycloneDX", "1.")
    purls = [c.get("purl", "") for c in sbom["components"]]
    for purl in expected:
        assert purls.count(purl) == len(REGIONS)
    assert all(count == len(expected) + 1 for count in report.binaries.values())  # and stdlib


def test_sc_004_planted_critical_fails_in_every_binary(
    scanner: Scanner, verified: VerifiedImage, planted_cache: Path
) -> None:
    """SC-004: a critical module of the plugin is one finding in the plugin layers."""
    with pytest.raises(ScanGateError, match=rf"{PLANTED.id} \(critical\).*fixed in 99.0.0"):
        scan(scanner.engine, verified, offline(planted_cache), scanner.output)
    record = json.loads((scanner.output / "scan.json").read_text(encoding="utf-8"))
    assert record["passed"] is False
    assert record["counts"] == [
        {"severity": "CRITICAL", "layer": "plugin", "fixable": True, "number": 1}
    ]
    (finding,) = record["findings"]
    assert len(finding["places"]) == len(REGIONS)
    sarif = json.loads((scanner.output / "trivy.sarif").read_text(encoding="utf-8"))
    assert {r["ruleId"] for r in sarif["runs"][0]["results"]} == {PLANTED.id}
    assert len(sarif["runs"][0]["results"]) == len(REGIONS)


def test_sc_004_ignore_with_reason_passes_until_it_expires(
    scanner: Scanner, planted_cache: Path
) -> None:
    """SC-004: an ignore suppresses the finding, is reported, and fails again once expired."""
    options = offline(planted_cache, ignore_file=scanner.ignore(TODAY + timedelta(days=1)))
    report = passed(scanner.report(options))
    (used,) = report.ignores_used
    assert (used.id, used.statement, len(used.places)) == (PLANTED.id, "planted", len(REGIONS))
    assert "planted" in report.summary.read_text(encoding="utf-8")
    scanner.ignore(TODAY)
    report = scanner.report(options)
    assert report.count(Severity.CRITICAL) == 1
    assert any("expired on" in problem for problem in report.problems)


def test_sc_004_stale_ignore_fails(scanner: Scanner, clean_cache: Path) -> None:
    """SC-004: an ignore that matches nothing fails."""
    options = offline(clean_cache, ignore_file=scanner.ignore(TODAY + timedelta(days=9)))
    report = scanner.report(options)
    assert report.problems == (f"the ignore of {PLANTED.id} matches nothing: remove it",)


def test_vex_document_takes_a_finding_out(
    scanner: Scanner, planted_cache: Path, tmp_path: Path
) -> None:
    """A VEX statement that the plugin is not affected suppresses the finding and is reported."""
    document = tmp_path / "plugin.openvex.json"
    document.write_text(
        json.dumps(
            {
                "@context": "https://openvex.dev/ns/v0.2.0",
                "@id": "https://example.com/vex/1",
                "author": "test",
                "timestamp": "2026-01-01T00:00:00Z",
                "version": 1,
                "statements": [
                    {
                        "vulnerability": {"name": PLANTED.id},
                        "products": [{"@id": f"pkg:golang/{PLANTED.package}"}],
                        "status": "not_affected",
                        "justification": "vulnerable_code_not_in_execute_path",
                    }
                ],
            }
        ),
        encoding="utf-8",
    )
    options = offline(planted_cache, vex=(document,))
    report = passed(scanner.report(options))
    (left_out,) = report.suppressed
    assert (left_out.id, left_out.status) == (PLANTED.id, "not_affected")
    assert left_out.statement == "vulnerable_code_not_in_execute_path"
    assert report.ignores_used == ()
    with pytest.raises(UsageError, match="VEX document not found"):
        scanner.report(offline(planted_cache, vex=(tmp_path / "missing",)))


LAYERS = r"""
USER 0
RUN mkdir -p /var/lib/dpkg/status.d \
 && printf 'Package: openssl\nVersion: 3.0.1\nArchitecture: amd64\n' >/var/lib/dpkg/status.d/openssl
"""
MORE = r"""
RUN printf 'Package: haproxy\nVersion: 2.6.1\nArchitecture: amd64\n' >/var/lib/dpkg/status.d/haproxy
RUN printf 'token = "%s_%s"\n' ghp a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8 >/opt/settings.ini
RUN rm /opt/finfocus/bin/finfocus-plugin-aws-public-us-east-1
RUN printf '9.13\n' >/etc/debian_version
USER 65532:65532
"""


def test_sc_004_each_layer_class_and_kind_of_finding(
    scanner: Scanner, variant: Variant, tmp_path: Path
) -> None:
    """SC-004: base, packages, secret, missing binary and end of support are all reported."""
    cache = tmp_path / "cache"
    old = "debian 9"
    planted = (
        Advisory(id="CVE-2099-0003", package="openssl", bucket=old, severity="HIGH", fixed="9"),
        Advisory(id="CVE-2099-0004", package="haproxy", bucket=old, severity="CRITICAL"),
    )
    make_database(cache / "db", (KNOWN, *planted))
    base = variant.derived(tmp_path, "scan-base", LAYERS)
    tmp_path.joinpath("Dockerfile").write_text(
        f"FROM {base}\n{MORE}LABEL org.opencontainers.image.base.name={base}\n", encoding="utf-8"
    )
    reference = variant.broken("scan")
    scanner.engine.client.images.build(path=str(tmp_path), tag=reference, rm=True)
    options = offline(cache, end_of_life=EndOfLife.FAIL)
    report = scanner.report(options, reference)
    found = {f.id: f for f in report.findings}
    assert report.system == "debian 9.13"
    assert report.os_packages == 2
    assert found["CVE-2099-0003"].layer is LayerClass.BASE
    assert (found["CVE-2099-0003"].fixed, found["CVE-2099-0004"].fixed) == ("9", "")
    assert found["CVE-2099-0004"].layer is LayerClass.PACKAGES
    assert report.count(Severity.HIGH, layer=LayerClass.BASE, fixable=True) == 1
    assert report.count(Severity.CRITICAL, layer=LayerClass.PACKAGES, fixable=False) == 1
    assert found["github-pat"].places == ("/opt/settings.ini",)
    words = "\n".join(report.problems)
    assert "debian 9.13, is past its end of support" in words
    assert "us-east-1: the binary is not in the SBOM" in words
    assert "ghp_a1B2" not in "".join(p.read_text("utf-8") for p in scanner.output.iterdir())


def test_offline_scan_asks_nothing_of_anyone(
    scanner: Scanner,
    clean_cache: Path,
    registry: DatabaseRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With `--offline` neither the registry nor a proxy gets a request."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{registry.server.server_port}")
    options = offline(clean_cache, db_repositories=(registry.repository,))
    assert passed(scanner.report(options))
    assert registry.asked == []


@pytest.mark.parametrize(
    ("cache", "expected"),
    [
        pytest.param("clean_cache", (0, "scan passed"), id="0-passed"),
        pytest.param("planted_cache", (6, PLANTED.id), id="6-gate-failed"),
        pytest.param("tmp_path", (7, "no vulnerability database in"), id="7-no-database"),
    ],
)
def test_command_ends_with_its_documented_code(
    request: pytest.FixtureRequest,
    scanner: Scanner,
    tmp_path: Path,
    cache: str,
    expected: tuple[int, str],
) -> None:
    """`harness scan` exits with 0, 6 or 7, and its last message has the reason."""
    code, words = expected
    command = [sys.executable, "-m", "harness", "scan", scanner.image.reference, "--json"]
    command += [
        "--offline",
        "--stand-ins",
        "auto",
        "--cache-dir",
        str(request.getfixturevalue(cache)),
    ]
    summary = tmp_path / "summary.md"
    done = subprocess.run(
        [*command, "--output", str(tmp_path / "out")],
        cwd=tmp_path,
        env={**os.environ, "GITHUB_STEP_SUMMARY": str(summary)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, words in done.stderr) == (code, True), done.stderr
    if code != 7:
        assert json.loads(done.stdout)["passed"] is (code == 0)
        assert summary.read_text(encoding="utf-8").startswith("### Scan ")


def test_no_trivy_and_no_go_ends_with_7(image: BuiltImage, tmp_path: Path) -> None:
    """A machine without Trivy and Go never passes an image."""
    done = subprocess.run(
        [sys.executable, "-m", "harness", "scan", image.reference, "--output", "out"],
        cwd=tmp_path,
        env={**os.environ, "PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 7, done.stderr
    assert "Trivy is not installed, nor is Go to compile it" in done.stderr


def test_compiled_trivy_is_the_pinned_one(trivy: Trivy) -> None:
    """The compiled Trivy reports the pinned version, and Go names the released module."""
    if not trivy.provisioned:
        pytest.skip(f"{trivy.path} of this machine is used")
    assert (trivy.path, trivy.version) == (compiled(), PINNED)
    told = subprocess.run(
        ["go", "version", "-m", str(trivy.path)], check=True, capture_output=True, text=True
    ).stdout
    assert f"github.com/aquasecurity/trivy\tv{PINNED}" in told
