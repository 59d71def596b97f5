"""Decides whether what was found may be published, and says why not."""

from collections.abc import Iterable, Mapping

from harness.scan.model import GATED, EndOfLife, Finding

SHOWN_PLACES = 2


def finding_problems(findings: Iterable[Finding]) -> list[str]:
    """SC-004: each critical or high finding, in words."""
    return [describe(finding) for finding in findings if finding.severity in GATED]


def describe(finding: Finding) -> str:
    """One finding as a sentence: what, where, and whether a fix exists."""
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
    """Regions whose binary the SBOM lacks, or lists without Go modules."""
    problems = []
    for region in regions:
        if region not in modules:
            problems.append(
                f"{region}: its binary is not in the SBOM, so nothing is known of its modules"
            )
        elif modules[region] == 0:
            problems.append(f"{region}: its binary tells no Go modules")
    return problems


def system_words(
    system: str, *, end_of_life: bool, packages: int, stand_in_base: bool, policy: EndOfLife
) -> tuple[list[str], list[str]]:
    """Problems and warnings about the base image's system."""
    problems: list[str] = []
    warnings: list[str] = []
    if end_of_life:
        words = (
            f"the base, {system}, is past its end of support: what is found in it from now on"
            " is not fixed; build on a newer one (--base, the Dockerfile's BASE_IMAGE)"
        )
        (problems if policy is EndOfLife.FAIL else warnings).append(words)
    if not packages:
        words = f"Trivy sees no package of the system ({system}), so none was looked up"
        if stand_in_base:
            warnings.append(f"{words}: the base is a stand-in without a package database")
        else:
            problems.append(words)
    return problems, warnings
