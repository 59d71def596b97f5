"""Record SC-004 (nothing critical or high) in the proof, so that reports show the counts."""

from dataclasses import replace
from datetime import UTC, datetime

from harness.core.proof import Proof
from harness.core.recorder import Limits, Recorder
from harness.scan.gate import describe
from harness.scan.model import GATED, ScanReport

REQUIREMENT = "SC-004"


def record_scan(report: ScanReport, recorder: Recorder) -> None:
    """Add the scan's checks to `recorder`: counts, SBOM and the gate's other rules."""
    _findings(report, recorder)
    _binaries(report, recorder)
    gated = {describe(finding) for finding in report.findings if finding.severity in GATED}
    with recorder.check(REQUIREMENT, "the image passes the scan gate") as finding:
        finding.measured = report.verdict
        finding.note = "\n".join(report.warnings)
        for problem in report.problems:
            finding.expect(problem in gated, problem)


def with_scan(proof: Proof, report: ScanReport) -> Proof:
    """`proof` with the checks and stand-ins of the scan."""
    recorder = Recorder()
    record_scan(report, recorder)
    return replace(
        proof,
        checks=(*proof.checks, *recorder.checks),
        stand_ins=(*proof.stand_ins, *report.stand_ins),
        required=tuple(dict.fromkeys([*proof.required, REQUIREMENT])),
        finished_at=datetime.now(UTC),
    )


def _findings(report: ScanReport, recorder: Recorder) -> None:
    title = "Trivy finds nothing critical or high"
    with recorder.check(REQUIREMENT, title, limits=Limits(bound=0), headline=True) as finding:
        number = sum(report.count(severity) for severity in GATED)
        worst = ", ".join(f"{report.count(s)} {s.value.lower()}" for s in GATED)
        finding.measured = (
            f"{worst}; Trivy {report.trivy_version}, database of {report.database_date:%Y-%m-%d}"
        )
        if report.unsupported:
            finding.measured = f"{report.unsupported}; {finding.measured}"
        if report.stand_ins and not number:
            finding.skip("the vulnerability database is a stand-in with almost no entries")
        finding.value = number
        for found in report.findings:
            if found.severity in GATED:
                finding.fail(describe(found))
        if report.suppressed:
            finding.note = f"{len(report.suppressed)} suppressed by ignores and VEX documents"


def _binaries(report: ScanReport, recorder: Recorder) -> None:
    title = "the SBOM lists every regional binary with its Go modules"
    with recorder.check(REQUIREMENT, title) as finding:
        modules = sum(report.binaries.values())
        finding.measured = f"{len(report.binaries)} binaries, {modules} modules"
        finding.expect(report.binaries, "the SBOM has no regional binary")
