"""Render a scan as Markdown, for a release page and a job summary."""

from collections.abc import Iterable, Mapping, Sequence

from harness.report.check_table import inline
from harness.report.write import append_summary
from harness.scan.gate import SHOWN_PLACES
from harness.scan.model import (
    GATED,
    AsSupported,
    Finding,
    LayerClass,
    ScanReport,
    Severity,
    Suppressed,
)


def render_summary(report: ScanReport) -> str:
    """Render the verdict, problems, warnings, counts, findings and suppressed findings."""
    blocks = [
        f"### Scan {inline(report.verdict)}",
        f"> **{inline(report.unsupported)}.**" if report.unsupported else "",
        _facts(report),
        _list("Problems", report.problems),
        _list("Warnings", [*_stand_ins(report), *report.warnings]),
        _counts(report),
        _findings([f for f in report.findings if f.severity in GATED]),
        _as_supported(report.as_supported),
        _suppressed(report.suppressed),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def append_step_summary(report: ScanReport, environ: Mapping[str, str]) -> None:
    """Append the summary to the GitHub Actions job summary, if `environ` names one."""
    append_summary(render_summary(report), environ)


def _facts(report: ScanReport) -> str:
    modules = sum(report.binaries.values())
    facts = [
        f"Trivy {report.trivy_version}",
        f"database of {report.database_date:%Y-%m-%d %H:%M} UTC",
        report.system or "unknown system",
        f"{report.os_packages} OS packages",
        f"{len(report.binaries)} regional binaries with {modules} Go modules in the SBOM",
    ]
    return " · ".join(inline(fact) for fact in facts)


def _stand_ins(report: ScanReport) -> list[str]:
    return [
        f"Stand-in {s.kind} in place of {s.replaces}: {s.why}. It has almost no entries, so a pass"
        " shows that the gate works, not that the image is clean."
        for s in report.stand_ins
    ]


def _list(title: str, lines: Iterable[str]) -> str:
    rows = [f"- {inline(line)}" for line in lines]
    return "\n".join([f"**{title}**", "", *rows]) if rows else ""


def _counts(report: ScanReport) -> str:
    head = [
        "| severity | base | packages | plugin | with a fix | without |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    rows = []
    for severity in Severity:
        cells = [report.count(severity, layer=layer) for layer in LayerClass]
        cells += [report.count(severity, fixable=True), report.count(severity, fixable=False)]
        rows.append(f"| {severity.value.lower()} | {' | '.join(str(n) for n in cells)} |")
    return "\n".join([*head, *rows])


def _findings(findings: Sequence[Finding]) -> str:
    if not findings:
        return ""
    rows = [
        "| finding | severity | layer | package | fixed in | location |",
        "|---|---|---|---|---|---|",
    ]
    for finding in findings:
        package = f"{finding.package} {finding.installed}".strip() or finding.title
        cells = [
            *(finding.id, finding.severity.value.lower(), finding.layer.value, package),
            *(finding.fixed or "no fix yet", _places(finding.places)),
        ]
        rows.append(f"| {' | '.join(inline(cell) for cell in cells)} |")
    return "\n".join(rows)


def _as_supported(found: AsSupported | None) -> str:
    if found is None:
        return ""
    title = f"**Only with the advisories of {found.system}**"
    gated = [f for f in found.findings if f.severity in GATED]
    if not gated:
        return f"{title}: nothing critical or high"
    note = "The newer release has a fix; the package in the image may or may not be affected."
    return f"{title}\n\n{note}\n\n{_findings(gated)}"


def _suppressed(suppressed: Sequence[Suppressed]) -> str:
    if not suppressed:
        return ""
    rows = ["| suppressed | severity | by | reason |", "|---|---|---|---|"]
    for entry in suppressed:
        why = f"{entry.status}: {entry.statement}".rstrip(": ")
        cells = [entry.id, entry.severity.value.lower(), entry.source, why]
        rows.append(f"| {' | '.join(inline(cell) for cell in cells)} |")
    return "\n".join(rows)


def _places(places: Sequence[str]) -> str:
    shown = ", ".join(places[:SHOWN_PLACES])
    more = len(places) - SHOWN_PLACES
    return f"{shown} and {more} more" if more > 0 else shown
