"""Read Trivy's JSON report: findings, the class of the layer each is in, and suppressions."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from harness.core.errors import ScanImpossibleError
from harness.core.regions import BINARY_PREFIX
from harness.core.untrusted import reading
from harness.scan.model import Finding, LayerClass, Severity, Suppressed
from harness.scan.tool import REMEDY

Json = Mapping[str, Any]
_REPORT = reading("Trivy's report", ScanImpossibleError, REMEDY)


def region_of(target: str) -> str | None:
    """Return the region of the binary `target`; None for any other file."""
    name = PurePosixPath(target).name
    return name.removeprefix(BINARY_PREFIX) if name.startswith(BINARY_PREFIX) else None


@_REPORT
def read_findings(report: Json, base_layers: Iterable[str]) -> tuple[Finding, ...]:
    """Return all findings, each once with all its locations, most severe first.

    `base_layers` are the digests (uncompressed) of the base image's layers.
    """
    classes = _LayerClasses(report, frozenset(base_layers))
    grouped: dict[tuple[object, ...], Finding] = {}
    for result in report.get("Results") or ():
        for finding in _of_result(result, classes):
            key = (finding.id, finding.layer, finding.package, finding.installed, finding.severity)
            before = grouped.get(key)
            places = {*(before.places if before else ()), *finding.places}
            grouped[key] = Finding(**{**vars(finding), "places": tuple(sorted(places))})
    order = list(Severity)
    return tuple(
        sorted(grouped.values(), key=lambda f: (order.index(f.severity), f.layer, f.package, f.id))
    )


@_REPORT
def read_suppressed(report: Json) -> tuple[Suppressed, ...]:
    """Return the findings that ignores and VEX documents suppress, each with all its locations."""
    grouped: dict[tuple[str, ...], set[str]] = {}
    for result in report.get("Results") or ():
        for entry in result.get("ExperimentalModifiedFindings") or ():
            found = entry.get("Finding") or {}
            key = (
                str(found.get("VulnerabilityID") or found.get("RuleID") or ""),
                str(found.get("Severity", "")),
                str(entry.get("Source", "")),
                str(entry.get("Status", "")),
                str(entry.get("Statement", "")),
            )
            grouped.setdefault(key, set()).add(_place(result, found))
    return tuple(
        Suppressed(
            id=key[0],
            severity=severity_of(key[1]),
            source=key[2],
            status=key[3],
            statement=key[4],
            places=tuple(sorted(places)),
        )
        for key, places in sorted(grouped.items())
    )


def severity_of(name: object) -> Severity:
    """Return the severity called `name`, or `UNKNOWN`."""
    text = str(name)
    return Severity(text) if text in set(Severity) else Severity.UNKNOWN


@_REPORT
def os_packages(report: Json) -> int:
    """Return the number of OS packages that Trivy detected."""
    results = report.get("Results") or ()
    return sum(len(r.get("Packages") or ()) for r in results if r.get("Class") == "os-pkgs")


class _LayerClasses:
    """Classifies layers by digest."""

    def __init__(self, report: Json, base: frozenset[str]) -> None:
        self.base = base
        self.plugin = {
            _layer(package)
            for result in report.get("Results") or ()
            if region_of(str(result.get("Target", "")))
            for package in result.get("Packages") or ()
        }

    def of(self, target: str, layer: str) -> LayerClass:
        """Return the class of `layer`; in a single-layer image the file `target` decides."""
        if region_of(target):
            return LayerClass.PLUGIN
        if layer in self.base:
            return LayerClass.BASE
        return LayerClass.PLUGIN if layer in self.plugin else LayerClass.PACKAGES


def _of_result(result: Json, classes: _LayerClasses) -> Iterator[Finding]:
    target = str(result.get("Target", ""))
    for found in result.get("Vulnerabilities") or ():
        place = _place(result, found)
        yield Finding(
            id=str(found.get("VulnerabilityID", "")),
            severity=severity_of(found.get("Severity")),
            layer=classes.of(place, _layer(found)),
            package=str(found.get("PkgName", "")),
            installed=str(found.get("InstalledVersion", "")),
            fixed=str(found.get("FixedVersion", "")),
            title=str(found.get("Title", "")),
            places=(place,),
        )
    for found in result.get("Secrets") or ():
        yield Finding(
            id=str(found.get("RuleID", "")),
            severity=severity_of(found.get("Severity")),
            layer=classes.of(target, _layer(found)),
            package="",
            installed="",
            fixed="remove it from the image",
            title=f"secret: {found.get('Title', '')}",
            places=(target,),
        )


def _place(result: Json, found: Json) -> str:
    """Return the file; for an OS package, Trivy's name of the OS."""
    return str(found.get("PkgPath") or result.get("Target", ""))


def _layer(found: Json) -> str:
    return str((found.get("Layer") or {}).get("DiffID", ""))
