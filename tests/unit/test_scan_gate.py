"""The scan gate: counts, failures, and the text of the reports."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.core.errors import ScanGateError, ScanImpossibleError
from harness.core.proof import Check, Environment, ImageFacts, Proof, Status
from harness.core.regions import REPOSITORY
from harness.core.stages import VerifiedImage
from harness.report.check_table import inline
from harness.scan import findings, passed, render_summary, with_scan
from harness.scan.findings import os_packages, read_findings, read_suppressed, system_of
from harness.scan.gate import binary_problems, describe, finding_problems, system_words
from harness.scan.model import (
    AsSupported,
    EndOfLife,
    LayerClass,
    ScanOptions,
    ScanReport,
    Severity,
    counts_of,
)
from harness.scan.sbom import cut_to_region, modules_by_region
from harness.scan.summary import append_step_summary
from harness.scan.support import as_supported, no_fixes

from .scan_reports import (
    BASE,
    EAST,
    PACKAGES,
    WEST,
    binary,
    database,
    result,
    sbom,
    scan_report,
    trivy_report,
    vulnerability,
)

SYSTEM = "image:v1 (alpine 3.19.9)"
CRITICAL = vulnerability("CVE-1", "golang.org/x/net", "CRITICAL", EAST, FixedVersion="2.0.0")
IN_BOTH = (
    result(binary("us-east-1"), EAST, CRITICAL),
    result(binary("us-west-2"), WEST, {**CRITICAL, "Layer": {"DiffID": WEST}}),
)


@pytest.mark.parametrize(
    ("target", "layer", "expected"),
    [
        pytest.param(SYSTEM, BASE, LayerClass.BASE, id="base"),
        pytest.param(SYSTEM, PACKAGES, LayerClass.PACKAGES, id="installed-package"),
        pytest.param(binary("us-east-1"), EAST, LayerClass.PLUGIN, id="plugin"),
        pytest.param(binary("us-east-1"), BASE, LayerClass.PLUGIN, id="image-in-one-layer"),
        pytest.param("etc/key.pem", EAST, LayerClass.PLUGIN, id="file-beside-a-binary"),
        pytest.param(SYSTEM, "", LayerClass.PACKAGES, id="no-layer-told"),
    ],
)
def test_sc_004_layer_class_comes_from_the_digest(
    target: str, layer: str, expected: LayerClass
) -> None:
    """SC-004 (nothing critical or high): the layer's digest decides base, packages or plugin."""
    found = vulnerability("CVE-9", "some", "LOW", layer)
    report = trivy_report(result(target, layer, found), result(binary("us-east-1"), EAST))
    assert [finding.layer for finding in read_findings(report, [BASE])] == [expected]


def test_sc_004_one_finding_in_two_binaries_counts_once_and_names_both() -> None:
    """SC-004: one vulnerable module in several binaries is one finding with every location."""
    found = read_findings(trivy_report(*IN_BOTH), [BASE])
    assert len(found) == 1
    assert found[0].places == (binary("us-east-1"), binary("us-west-2"))
    assert finding_problems(found) == [
        "CVE-1 (critical) in golang.org/x/net 1.0.0: plugin layer,"
        f" {binary('us-east-1')}, {binary('us-west-2')}; fixed in 2.0.0"
    ]


def test_sc_004_other_version_of_the_same_module_is_another_finding() -> None:
    """SC-004: two installed versions are two findings, each with its own fix."""
    other = {**CRITICAL, "InstalledVersion": "0.9.0"}
    report = trivy_report(
        result(binary("us-east-1"), EAST, CRITICAL), result(binary("us-west-2"), WEST, other)
    )
    assert [f.installed for f in read_findings(report, [BASE])] == ["1.0.0", "0.9.0"]


def test_sc_004_counts_by_severity_layer_and_fix() -> None:
    """SC-004: each finding is in exactly one cell of severity, layer class and fix."""
    report = scan_report(
        *IN_BOTH,
        result(
            SYSTEM,
            BASE,
            vulnerability("CVE-2", "musl", "HIGH", BASE),
            vulnerability("CVE-3", "haproxy", "HIGH", PACKAGES, FixedVersion="2.8.1"),
            vulnerability("CVE-4", "haproxy", "NEGLIGIBLE", PACKAGES),
        ),
    )
    assert report.count(Severity.CRITICAL) == 1
    assert report.count(Severity.CRITICAL, layer=LayerClass.PLUGIN, fixable=True) == 1
    assert report.count(Severity.HIGH) == 2
    assert report.count(Severity.HIGH, layer=LayerClass.BASE, fixable=False) == 1
    assert report.count(Severity.HIGH, layer=LayerClass.PACKAGES, fixable=True) == 1
    assert report.count(Severity.HIGH, fixable=True) == 1
    assert report.count(Severity.UNKNOWN) == 1
    assert sum(count.number for count in report.counts) == 4
    assert report.verdict == "failed: 1 critical, 2 high, 0 medium, 0 low, 1 unknown"


@pytest.mark.parametrize(
    ("severity", "passes"),
    [("CRITICAL", False), ("HIGH", False), ("MEDIUM", True), ("LOW", True), ("UNKNOWN", True)],
)
@pytest.mark.parametrize("layer", [BASE, PACKAGES, EAST])
def test_sc_004_critical_and_high_do_not_pass(severity: str, layer: str, *, passes: bool) -> None:
    """SC-004: critical and high fail in every layer, with or without a fix; others pass."""
    report = scan_report(result(SYSTEM, layer, vulnerability("CVE-1", "some", severity, layer)))
    assert report.passed is passes
    if passes:
        assert passed(report) is report
    else:
        with pytest.raises(ScanGateError, match="CVE-1"):
            passed(report)


def test_sc_004_secret_is_a_finding() -> None:
    """SC-004: a secret counts like a vulnerability and names its file."""
    secret = {"RuleID": "aws-key", "Severity": "CRITICAL", "Title": "AWS key"}
    report = trivy_report(
        result("root/.aws", PACKAGES, Secrets=[{**secret, "Layer": {"DiffID": PACKAGES}}])
    )
    (found,) = read_findings(report, [BASE])
    assert describe(found) == (
        "aws-key (critical) in secret: AWS key: packages layer, root/.aws; remove it from the image"
    )


def test_fix_and_places_are_told_in_words() -> None:
    """A missing fix is stated, and a long list of files is shortened with a count."""
    regions = ["us-east-1", "us-east-2", "us-west-1", "us-west-2"]
    report = trivy_report(
        *(result(binary(r), EAST, vulnerability("CVE-1", "m", "HIGH", EAST)) for r in regions)
    )
    (found,) = read_findings(report, [BASE])
    assert describe(found).endswith("and 2 more; no fix yet")


def test_suppressed_findings_are_told_with_source_and_reason() -> None:
    """A finding suppressed by an ignore or a VEX document is listed once and not counted."""
    entry = {
        "Type": "vulnerability",
        "Status": "ignored",
        "Statement": "not reachable",
        "Source": ".trivyignore.yaml",
        "Finding": CRITICAL,
    }
    report = trivy_report(
        result(binary("us-east-1"), EAST, ExperimentalModifiedFindings=[entry]),
        result(binary("us-west-2"), WEST, ExperimentalModifiedFindings=[entry]),
    )
    (left_out,) = read_suppressed(report)
    assert (left_out.id, left_out.severity) == ("CVE-1", Severity.CRITICAL)
    assert (left_out.source, left_out.statement) == (".trivyignore.yaml", "not reachable")
    assert len(left_out.places) == 2
    assert read_findings(report, [BASE]) == ()


def read_base(report: Any) -> object:
    return read_findings(report, [BASE])


def cut(report: Any) -> object:
    return cut_to_region(report, "us-east-1", image_id="sha256:2", diff_ids=[BASE])


@pytest.mark.parametrize(
    ("read", "report"),
    [
        *(
            (read, {"Results": bad})
            for read in (read_base, read_suppressed, os_packages)
            for bad in ({"a": 1}, [1], "text")
        ),
        (os_packages, {"Results": [{"Class": "os-pkgs", "Packages": [1]}]}),
        (read_base, {"Results": [{"Vulnerabilities": [1]}]}),
        (read_base, {"Results": [{"Vulnerabilities": [{"PkgName": ["x"]}]}]}),
        (read_base, {"Results": [{"Vulnerabilities": [{"Layer": "sha256:1"}]}]}),
        (read_base, {"Results": [{"Secrets": [{"RuleID": 5}]}]}),
        (read_suppressed, {"Results": [{"ExperimentalModifiedFindings": [{"Finding": 1}]}]}),
        (system_of, {"Metadata": []}),
        (system_of, {"Metadata": {"OS": "alpine"}}),
        (system_of, {"Metadata": {"OS": {"EOSL": "yes"}}}),
        (modules_by_region, {"components": [{}]}),
        (modules_by_region, {"components": {}}),
        (modules_by_region, {"dependencies": [{"ref": "a", "dependsOn": [1]}]}),
        (cut, {"metadata": []}),
        (cut, {"metadata": {"component": {"properties": [{}]}}}),
        (cut, {"vulnerabilities": [{"affects": [{"ref": 5}]}]}),
    ],
)
def test_report_in_another_form_is_an_impossible_scan(
    read: Callable[[Any], object], report: Any
) -> None:
    """Whichever part has another shape, the error says which Trivy to install."""
    with pytest.raises(ScanImpossibleError, match=r"cannot be read.*install Trivy"):
        read(report)


def test_defect_in_reading_a_report_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the report can be "cannot be read", not our own code."""
    monkeypatch.setattr(findings, "_of_result", None)
    with pytest.raises(TypeError):
        read_base(trivy_report(*IN_BOTH))


def test_packages_of_the_system_are_counted() -> None:
    """Only what Trivy classifies as OS packages counts."""
    report = trivy_report(result(SYSTEM, BASE), result(binary("us-east-1"), EAST))
    assert os_packages(report) == 1


@pytest.mark.parametrize("policy", EndOfLife)
def test_end_of_life_is_said_and_the_policy_decides(policy: EndOfLife) -> None:
    """A base image past its end of support is reported; it fails only if requested."""
    problems, warnings = system_words(
        "alpine 3.19.9", end_of_life=True, packages=30, stand_in_base=False, policy=policy
    )
    told = problems if policy is EndOfLife.FAIL else warnings
    assert len(problems) + len(warnings) == len(told) == 1
    assert "alpine 3.19.9, is past its end of support" in told[0]
    assert "BASE_IMAGE" in told[0]


@pytest.mark.parametrize("stand_in_base", [True, False])
def test_sc_004_system_without_packages_is_no_pass(*, stand_in_base: bool) -> None:
    """SC-004: a base without OS packages was not scanned and fails, unless it is a stand-in."""
    problems, warnings = system_words(
        "alpine 3.19.9",
        end_of_life=False,
        packages=0,
        stand_in_base=stand_in_base,
        policy=EndOfLife.WARN,
    )
    assert bool(problems) is not stand_in_base
    assert bool(warnings) is stand_in_base


def test_supported_system_with_packages_needs_no_words() -> None:
    """A supported base with packages gives no message."""
    words = system_words(
        "alpine 3.22.1", end_of_life=False, packages=9, stand_in_base=False, policy=EndOfLife.FAIL
    )
    assert words == ([], [])


def test_sbom_modules_are_counted_per_binary() -> None:
    """Versioned modules are counted through the main module of each binary."""
    assert modules_by_region(sbom("us-east-1", "us-west-2")) == {"us-east-1": 2, "us-west-2": 2}


def test_sc_004_binary_that_the_sbom_lacks_does_not_pass() -> None:
    """SC-004: a binary that is missing or without modules is named, since it was not scanned."""
    modules = {**modules_by_region(sbom("us-east-1")), **modules_by_region(sbom("b", version=""))}
    problems = binary_problems(["us-east-1", "b", "c"], modules)
    assert [problem.partition(":")[0] for problem in problems] == ["b", "c"]


def test_summary_has_counts_findings_reasons_and_stand_ins() -> None:
    """The Markdown has verdict, counts, findings, and suppressed findings with reasons."""
    entry = {
        "Status": "not_affected",
        "Statement": "vulnerable_code_not_present",
        "Source": "vex/1/openvex.json",
        "Finding": vulnerability("CVE-7", "some", "HIGH", BASE),
    }
    text = render_summary(
        scan_report(
            *IN_BOTH,
            result(SYSTEM, BASE, ExperimentalModifiedFindings=[entry]),
            database=database(stand_in=True),
            warnings=("the base is old",),
        )
    )
    assert text.startswith("### Scan failed with a stand-in database: 1 critical, 0 high")
    assert "| critical | 0 | 0 | 1 | 1 | 0 |" in text
    assert "| CVE-1 | critical | plugin | golang.org/x/net 1.0.0 | 2.0.0 |" in text
    assert r"| CVE-7 | high | vex/1/openvex.json | not\_affected: vulnerable\_code" in text
    assert "Stand-in vulnerability database in place of Trivy's" in text
    assert "- the base is old" in text
    assert "17 Go modules" in text


def past_support(*results: dict[str, Any]) -> ScanReport:
    """A clean scan of alpine 3.19.9, for which alpine 3.23 has two advisories more."""
    later = result(
        SYSTEM,
        PACKAGES,
        vulnerability("CVE-8", "haproxy", "CRITICAL", PACKAGES, FixedVersion="3.2.0-r0"),
        vulnerability("CVE-9", "bash", "LOW", PACKAGES, FixedVersion="5.3-r0"),
    )
    found = read_findings(trivy_report(later), [BASE])
    supported = AsSupported(system="alpine 3.23", findings=found)
    return scan_report(*results, end_of_life=True, as_supported=supported)


NOBODY_LOOKS = "alpine 3.19.9 has had no security fixes since 2025-11-01"


def test_end_of_life_is_in_the_first_lines() -> None:
    """Verdict and summary begin with it, and show what a supported Alpine would report."""
    report = past_support()
    assert report.verdict == (
        f"passed, but {NOBODY_LOOKS}: 0 critical, 0 high, 0 medium, 0 low, 0 unknown;"
        " as alpine 3.23: 1 critical, 0 high more"
    )
    first, _, second, *_ = render_summary(report).splitlines()
    assert f"passed, but {inline(NOBODY_LOOKS)}" in first
    assert second.startswith(f"> **{inline(NOBODY_LOOKS)}, so nobody looks")
    text = render_summary(report)
    assert "| CVE-8 | critical | packages | haproxy 1.0.0 | 3.2.0-r0 |" in text
    assert "CVE-9" not in text, "only critical and high findings are listed"


def test_supported_system_is_not_warned_about() -> None:
    """Nothing is added for a base that gets fixes."""
    report = scan_report()
    assert report.unsupported == ""
    assert report.verdict.startswith("passed: 0 critical")
    assert ">" not in render_summary(report)


def test_findings_of_a_supported_system_do_not_fail_the_gate() -> None:
    """They may not apply to the older package: they are shown, and the counts stay the image's."""
    report = past_support()
    assert report.passed
    assert report.count(Severity.CRITICAL) == 0
    data = json.loads(json.dumps(report.to_json_dict()))
    assert data["as_supported"]["system"] == "alpine 3.23"
    assert [found["id"] for found in data["as_supported"]["findings"]] == ["CVE-8", "CVE-9"]
    assert data["unsupported"].startswith(NOBODY_LOOKS)


def test_sc_004_proof_of_an_unsupported_base_says_so() -> None:
    """SC-004: "0 critical, 0 high" is never alone in the proof of such an image."""
    first, *_ = sc_004(past_support())
    assert first.measured.startswith(f"{NOBODY_LOOKS}, so nobody looks")


def test_system_without_a_date_is_named_too() -> None:
    """A release whose end the harness does not know still gets no fixes."""
    assert no_fixes("debian 9.13") == "debian 9.13 gets no more security fixes"
    assert as_supported("debian 9.13") == ""
    assert as_supported("alpine 3.19.9") == "alpine 3.23"


def test_summary_is_appended_to_the_page_of_the_job(tmp_path: Path) -> None:
    """The Markdown is appended to the GitHub Actions step summary, if there is one."""
    page = tmp_path / "summary.md"
    page.write_text("before\n", encoding="utf-8")
    append_step_summary(scan_report(), {"GITHUB_STEP_SUMMARY": str(page)})
    append_step_summary(scan_report(), {})
    assert page.read_text(encoding="utf-8").startswith("before\n### Scan passed")
    assert page.read_text(encoding="utf-8").count("### Scan") == 1


@pytest.mark.parametrize("results", [(), IN_BOTH], ids=["passed", "failed"])
def test_scan_of_a_release_is_in_the_summary_of_the_job(
    results: tuple[Any, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release's job shows what the scan found, above all if it stops the release."""
    page = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    report = scan_report(*results)
    scanning = import_module("harness.scan.scan")
    monkeypatch.setattr(scanning, "scan_image", lambda *_, **__: report)
    monkeypatch.setattr(scanning, "with_scan", lambda proof, _: proof)
    built = SimpleNamespace(image_id="sha256:1", reference="image:v1")
    image = VerifiedImage(built=cast("Any", built), proof=cast("Any", None))
    with suppress(ScanGateError):
        scanning.scan(cast("Any", None), image, ScanOptions(), tmp_path)
    assert page.read_text(encoding="utf-8") == render_summary(report)


def test_report_is_json_with_counts_and_file_names_only() -> None:
    """The JSON has the counts and no local path."""
    report = scan_report(*IN_BOTH, trivy_json=Path("/somewhere/trivy.json"))
    data = json.loads(json.dumps(report.to_json_dict()))
    assert data["counts"] == [
        {"severity": "CRITICAL", "layer": "plugin", "fixable": True, "number": 1}
    ]
    assert data["passed"] is False
    assert "/somewhere" not in json.dumps(data)


def sc_004(report: ScanReport) -> tuple[Check, ...]:
    """Return the SC-004 checks of a proof that includes `report`."""
    before = Proof(
        started_at=datetime(2026, 11, 24, tzinfo=UTC),
        finished_at=datetime(2026, 11, 24, tzinfo=UTC),
        image=ImageFacts(reference="image", image_id="sha256:1"),
        version="v1",
        architecture="amd64",
        environment=Environment(**dict.fromkeys(Environment.__dataclass_fields__, "")),  # type: ignore[arg-type]
        checks=(Check(requirement="FR-001", title="before", status=Status.PASSED),),
        required=("FR-001",),
    )
    after = with_scan(before, report)
    assert after.required == ("FR-001", "SC-004")
    assert after.stand_ins == report.stand_ins
    assert after.checks[0] == before.checks[0]
    return after.checks[1:]


def test_sc_004_proof_names_the_counts() -> None:
    """SC-004: the proof has the number of findings, Trivy's version and the database date."""
    first, second, third = sc_004(scan_report(*IN_BOTH))
    assert first.status is Status.FAILED
    assert (first.value, first.bound) == (1, 0)
    assert first.measured == "1 critical, 0 high; Trivy 0.74.0, database of 2026-11-23"
    assert "CVE-1" in first.detail
    assert (second.status, second.measured) == (Status.PASSED, "2 binaries, 17 modules")
    assert third.status is Status.PASSED, "the same finding is not told twice"


def test_sc_004_proof_of_a_clean_image_passes() -> None:
    """SC-004: without findings every check passes."""
    assert {check.status for check in sc_004(scan_report())} == {Status.PASSED}


def test_sc_004_stand_in_database_proves_nothing() -> None:
    """SC-004: no finding in a stand-in database is skipped; a finding still fails."""
    stand_in = database(stand_in=True)
    assert sc_004(scan_report(database=stand_in))[0].status is Status.SKIPPED
    assert sc_004(scan_report(*IN_BOTH, database=stand_in))[0].status is Status.FAILED


def test_sc_004_other_problems_of_the_gate_fail_the_proof() -> None:
    """SC-004: a stale ignore fails the gate although it is not a finding."""
    checks = sc_004(scan_report(problems=("the ignore of CVE-5 matches nothing: remove it",)))
    assert [check.status for check in checks] == [Status.PASSED, Status.PASSED, Status.FAILED]
    assert "CVE-5" in checks[2].detail


def test_exit_codes_tell_a_failed_gate_from_an_impossible_scan() -> None:
    """6 and 7 are the documented exit codes."""
    assert (ScanGateError.exit_code, ScanImpossibleError.exit_code) == (6, 7)


def test_only_the_scan_makes_a_scanned_image() -> None:
    """No other module of the harness calls `ScannedImage(…)`."""
    makers = set()
    for path in (REPOSITORY / "harness").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("ScannedImage"):
                makers.add(path.relative_to(REPOSITORY).as_posix())
    assert makers == {"harness/scan/scan.py"}


def test_counts_of_nothing_is_nothing() -> None:
    """No findings give no counts."""
    assert counts_of(()) == ()
