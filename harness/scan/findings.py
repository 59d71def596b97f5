"""Read Trivy's JSON report: findings, the class of the layer each is in, and suppressions."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from harness.core.decode import member, objects, text
from harness.core.errors import ScanImpossibleError
from harness.core.regions import BINARY_PREFIX
from harness.core.untrusted import reading
from harness.scan.model import Finding, LayerClass, Severity, Suppressed
from harness.scan.tool import REMEDY

Json = Mapping[str, Any]
_REPORT = reading("Trivy's report", ScanImpossibleError, REMEDY)


@dataclass(frozen=True, kw_only=True)
class System:
    """The operating system in an image."""

    name: str  # "alpine 3.19.9"; "" if Trivy found none
    end_of_life: bool


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
    for result in objects(report, "Results"):
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
    for result in objects(report, "Results"):
        for entry in objects(result, "ExperimentalModifiedFindings"):
            found = member(entry, Json | None, "Finding") or {}
            key = (
                text(found, "VulnerabilityID") or text(found, "RuleID"),
                text(found, "Severity"),
                text(entry, "Source"),
                text(entry, "Status"),
                text(entry, "Statement"),
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


def severity_of(name: str) -> Severity:
    """Return the severity called `name`, or `UNKNOWN`."""
    return Severity(name) if name in set(Severity) else Severity.UNKNOWN


@_REPORT
def system_of(report: Json) -> System:
    """Return the operating system that Trivy detected."""
    found = member(report, Json | None, "Metadata", "OS") or {}
    return System(
        name=" ".join(name for key in ("Family", "Name") if (name := text(found, key))),
        end_of_life=member(found, bool | None, "EOSL") or False,
    )


@_REPORT
def os_packages(report: Json) -> int:
    """Return the number of OS packages that Trivy detected."""
    return sum(
        len(objects(result, "Packages"))
        for result in objects(report, "Results")
        if text(result, "Class") == "os-pkgs"
    )


class _LayerClasses:
    """Classifies layers by digest."""

    def __init__(self, report: Json, base: frozenset[str]) -> None:
        self.base = base
        self.plugin = {
            _layer(package)
            for result in objects(report, "Results")
            if region_of(text(result, "Target"))
            for package in objects(result, "Packages")
        }

    def of(self, target: str, layer: str) -> LayerClass:
        """Return the class of `layer`; in a single-layer image the file `target` decides."""
        if region_of(target):
            return LayerClass.PLUGIN
        if layer in self.base:
            return LayerClass.BASE
        return LayerClass.PLUGIN if layer in self.plugin else LayerClass.PACKAGES


def _of_result(result: Json, classes: _LayerClasses) -> Iterator[Finding]:
    target = text(result, "Target")
    for found in objects(result, "Vulnerabilities"):
        place = _place(result, found)
        yield Finding(
            id=text(found, "VulnerabilityID"),
            severity=severity_of(text(found, "Severity")),
            layer=classes.of(place, _layer(found)),
            package=text(found, "PkgName"),
            installed=text(found, "InstalledVersion"),
            fixed=text(found, "FixedVersion"),
            title=text(found, "Title"),
            places=(place,),
        )
    for found in objects(result, "Secrets"):
        yield Finding(
            id=text(found, "RuleID"),
            severity=severity_of(text(found, "Severity")),
            layer=classes.of(target, _layer(found)),
            package="",
            installed="",
            fixed="remove it from the image",
            title=f"secret: {text(found, 'Title')}",
            places=(target,),
        )


def _place(result: Json, found: Json) -> str:
    """Return the file; for an OS package, Trivy's name of the OS."""
    return text(found, "PkgPath") or text(result, "Target")


def _layer(found: Json) -> str:
    return text(found, "Layer", "DiffID")
