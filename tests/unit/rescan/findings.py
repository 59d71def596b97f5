"""Images and problems for the tests of the rescan."""

from __future__ import annotations

from harness.registry import Repository
from harness.rescan.images import PublishedImage
from harness.rescan.problems import Problem, problems_in
from harness.scan import LayerClass, ScanReport, Severity
from harness.scan.model import Finding, counts_of
from tests.unit.scan_reports import scan_report

REPOSITORY = Repository.from_names("ghcr.io", "owner/image")


def image(
    *tags: str, architecture: str = "amd64", newest: bool = True, digit: str = "a"
) -> PublishedImage:
    return PublishedImage(
        repository=REPOSITORY,
        digest=f"sha256:{digit * 64}",
        platform=f"linux/{architecture}",
        tags=tags or ("v1.2.3", "latest"),
        newest=newest,
    )


def finding(
    id_: str = "CVE-1",
    package: str = "haproxy",
    *,
    severity: Severity = Severity.HIGH,
    layer: LayerClass = LayerClass.PACKAGES,
    fixed: str = "2.8.11-r0",
) -> Finding:
    return Finding(
        id=id_,
        severity=severity,
        layer=layer,
        package=package,
        installed="2.8.10-r0",
        fixed=fixed,
        title="a | title with @someone and <b>",
        places=("image:v1 (alpine 3.19.9)",),
    )


def report(*findings: Finding) -> ScanReport:
    return scan_report(findings=findings, counts=counts_of(findings))


def problem(*findings: Finding, of: PublishedImage | None = None) -> Problem:
    (found,) = problems_in([(of or image(), report(*(findings or (finding(),))))])
    return found
