"""The scan gate: decide whether an image with these findings may be published."""

from collections.abc import Iterable, Mapping

from harness.scan.model import GATED, EndOfLife, Finding
from harness.scan.support import no_fixes

SHOWN_PLACES = 2


def finding_problems(findings: Iterable[Finding]) -> list[str]:
    """SC-004 (nothing critical or high): describe each finding that fails the gate."""
    return [describe(finding) for finding in findings if finding.severity in GATED]


def describe(finding: Finding) -> str:
    """Describe a finding in one sentence: package, location, fix."""
    what = " ".join(word for word in (finding.package, finding.installed) if word)
    fix = f"fixed in {finding.fixed}" if finding.fixed else "no fix yet"
    if not finding.package:
        fix = finding.fixed
    places = ", ".join(finding.places[:SHOWN_PLACES])
    if more := len(finding.places) - SHOWN_PLACES:
        places += f" and {more} more" if more > 0 else ""
    return (
        f"{finding.id} ({finding.severity.value.lower()}) in {what or finding.title}:"
        f" {finding.layer} layer, {places}; {fix}"
    )


def binary_problems(regions: Iterable[str], modules: Mapping[str, int]) -> list[str]:
    """Report regions whose binary is missing from the SBOM or has no Go modules in it."""
    problems = []
    for region in regions:
        if region not in modules:
            problems.append(
                f"{region}: the binary is not in the SBOM, so its Go modules were not scanned"
            )
        elif modules[region] == 0:
            problems.append(f"{region}: the binary contains no Go module information")
    return problems


def system_words(
    system: str, *, end_of_life: bool, packages: int, stand_in_base: bool, policy: EndOfLife
) -> tuple[list[str], list[str]]:
    """Return problems and warnings about the base image's OS."""
    problems: list[str] = []
    warnings: list[str] = []
    if end_of_life:
        words = (
            f"the base image, {system}, is past its end of support: {no_fixes(system)};"
            " build on a newer one (--base, or BASE_IMAGE in the Dockerfile)"
        )
        (problems if policy is EndOfLife.FAIL else warnings).append(words)
    if not packages:
        words = f"Trivy found no OS packages ({system}), so none were scanned"
        if stand_in_base:
            warnings.append(f"{words}: the base image is a stand-in without a package database")
        else:
            problems.append(words)
    return problems, warnings
