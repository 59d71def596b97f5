"""The options and the results of a scan, as plain data."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.core.proof import StandIn
from harness.core.stages import StandInPolicy, VerifiedImage
from harness.scan.support import no_fixes

IGNORE_FILE = Path(".trivyignore.yaml")


class Severity(StrEnum):
    """Severities as Trivy names them, most severe first."""

    CRITICAL = "CRITICAL"
    HIGH = "HIGH"
    MEDIUM = "MEDIUM"
    LOW = "LOW"
    UNKNOWN = "UNKNOWN"


GATED = (Severity.CRITICAL, Severity.HIGH)
"""Severities that fail SC-004 (nothing critical or high)."""


class LayerClass(StrEnum):
    """The origin of a layer, and so who can fix the findings in it."""

    BASE = "base"  # the base image
    PACKAGES = "packages"  # installed by the build, and the image's own parts
    PLUGIN = "plugin"  # a regional binary


class EndOfLife(StrEnum):
    """How the gate treats a base image past its end of support."""

    WARN = "warn"  # on the console and in the report
    FAIL = "fail"


@dataclass(frozen=True, kw_only=True)
class ScanOptions:
    """How to scan."""

    db_repositories: Annotated[
        tuple[str, ...],
        typer.Option(
            "--db-repository", help="OCI repository of the vulnerability database (repeatable)."
        ),
    ] = ()  # () for Trivy's own
    skip_db_update: Annotated[
        bool,
        typer.Option("--skip-db-update", help="Use the local vulnerability database as it is."),
    ] = False
    offline: Annotated[bool, typer.Option("--offline", help="Scan without network access.")] = (
        False  # implies skip_db_update
    )
    max_db_age: Annotated[float, typer.Option(help="Maximum age of the database in days.")] = 7
    ignore_file: Annotated[
        Path | None, typer.Option(help="Accepted findings: reason and expiry (YAML).")
    ] = IGNORE_FILE  # the default one need not exist
    vex: Annotated[
        tuple[Path, ...], typer.Option(help="VEX document (repeatable).")
    ] = ()  # OpenVEX, CSAF or CycloneDX
    end_of_life: Annotated[
        EndOfLife, typer.Option(help="Treatment of a base past its end of support.")
    ] = EndOfLife.WARN
    cache: Annotated[
        Path | None,
        typer.Option("--cache-dir", help="Trivy's cache directory, with its database."),
    ] = None  # None for the harness's own
    stand_ins: Annotated[
        StandInPolicy, typer.Option(help="When to use a small stand-in database.")
    ] = StandInPolicy.NEVER  # a pass with a stand-in shows little


@dataclass(frozen=True, kw_only=True)
class Database:
    """The vulnerability database that was used."""

    updated_at: datetime
    source: str  # the data source that the database names
    cache: Path  # Trivy's cache directory that contains it
    stand_in: StandIn | None = None


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One vulnerability or secret, in one or more files."""

    id: str  # "CVE-2024-24790", or the rule of a secret
    severity: Severity
    layer: LayerClass
    package: str  # "" for a secret
    installed: str
    fixed: str  # versions with the fix; "" if there is none
    title: str
    places: tuple[str, ...]  # files, or the OS name for OS packages


@dataclass(frozen=True, kw_only=True)
class AsSupported:
    """What a supported system's advisories say about the OS packages of one past its support."""

    system: str  # "alpine 3.23"
    findings: tuple[Finding, ...]  # only those that the image's own system does not report

    def count(self, severity: Severity) -> int:
        """Return the number of findings of `severity`."""
        return sum(finding.severity is severity for finding in self.findings)

    @property
    def words(self) -> str:
        """The difference in a few words."""
        worst = ", ".join(f"{self.count(s)} {s.value.lower()}" for s in GATED)
        return f"as {self.system}: {worst} more"


@dataclass(frozen=True, kw_only=True)
class Suppressed:
    """A finding that an ignore or a VEX document excludes from the gate."""

    id: str
    severity: Severity
    source: str  # the file with the ignore or VEX statement
    status: str  # "ignored", "not_affected", "fixed"
    statement: str
    places: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Count:
    """The number of findings of one severity, layer class and fix status."""

    severity: Severity
    layer: LayerClass
    fixable: bool
    number: int


@dataclass(frozen=True, kw_only=True)
class ScanReport:
    """The results of one scan of one image."""

    reference: str
    image_id: str
    system: str  # "alpine 3.19.9"
    end_of_life: bool  # the OS is past its end of support, according to Trivy
    as_supported: AsSupported | None = None  # only past the end of support
    os_packages: int
    binaries: Mapping[str, int]  # region to the number of Go modules in its binary
    trivy_version: str
    database: Database
    findings: tuple[Finding, ...]
    suppressed: tuple[Suppressed, ...]
    problems: tuple[str, ...]  # why the gate fails, as sentences; () for a pass
    warnings: tuple[str, ...]
    trivy_json: Path
    sarif: Path
    sbom: Path
    summary: Path
    counts: tuple[Count, ...] = field(default=())

    @property
    def passed(self) -> bool:
        """Whether the image passes the gate."""
        return not self.problems

    @property
    def database_date(self) -> datetime:
        """When the database was built."""
        return self.database.updated_at

    @property
    def stand_ins(self) -> tuple[StandIn, ...]:
        """The stand-ins used in this scan."""
        return (self.database.stand_in,) if self.database.stand_in else ()

    @property
    def ignores_used(self) -> tuple[Suppressed, ...]:
        """The findings suppressed by the ignore file."""
        return tuple(s for s in self.suppressed if s.status == "ignored")

    def count(
        self,
        severity: Severity,
        *,
        layer: LayerClass | None = None,
        fixable: bool | None = None,
    ) -> int:
        """Return the number of findings of `severity`, optionally by layer class and fix."""
        return sum(
            c.number
            for c in self.counts
            if c.severity is severity
            and layer in (None, c.layer)
            and (fixable is None or fixable is c.fixable)
        )

    @property
    def verdict(self) -> str:
        """The outcome in one line; a pass on a system without fixes is never just "passed"."""
        found = ", ".join(f"{self.count(s)} {s.value.lower()}" for s in Severity)
        outcome = "passed" if self.passed else "failed"
        if self.stand_ins:
            outcome += " with a stand-in database"
        if self.end_of_life:
            outcome += f", but {no_fixes(self.system)}"
        if self.as_supported:
            found += f"; {self.as_supported.words}"
        return f"{outcome}: {found}"

    @property
    def unsupported(self) -> str:
        """Why the counts of OS packages say little; "" on a supported system."""
        if not self.end_of_life:
            return ""
        words = f"{no_fixes(self.system)}, so nobody looks for vulnerabilities in its packages"
        if self.as_supported:
            words += f"; {self.as_supported.words}"
        return words

    def to_json_dict(self) -> dict[str, Any]:
        """Return this report as JSON types."""
        return {
            "schema_version": 1,
            "passed": self.passed,
            "verdict": self.verdict,
            "reference": self.reference,
            "image_id": self.image_id,
            "system": self.system,
            "end_of_life": self.end_of_life,
            "unsupported": self.unsupported,
            "as_supported": self._as_supported(),
            "os_packages": self.os_packages,
            "binaries": dict(self.binaries),
            "trivy_version": self.trivy_version,
            "database": {
                "updated_at": self.database.updated_at.isoformat(),
                "source": self.database.source,
            },
            "stand_ins": [vars(stand_in) for stand_in in self.stand_ins],
            "counts": [vars(count) for count in self.counts],
            "findings": [vars(finding) for finding in self.findings],
            "suppressed": [vars(suppressed) for suppressed in self.suppressed],
            "problems": list(self.problems),
            "warnings": list(self.warnings),
            "files": [p.name for p in (self.trivy_json, self.sarif, self.sbom, self.summary)],
        }

    def _as_supported(self) -> dict[str, Any] | None:
        if self.as_supported is None:
            return None
        findings = [vars(finding) for finding in self.as_supported.findings]
        return {"system": self.as_supported.system, "findings": findings}


@dataclass(frozen=True, kw_only=True)
class ScannedImage:
    """A verified image that passed the gate; only `harness.scan.scan` creates one."""

    verified: VerifiedImage
    report: ScanReport


def counts_of(findings: Iterable[Finding]) -> tuple[Count, ...]:
    """Count the findings by severity, layer class and fix, most severe first."""
    tally: dict[tuple[Severity, LayerClass, bool], int] = {}
    for finding in findings:
        key = (finding.severity, finding.layer, bool(finding.fixed))
        tally[key] = tally.get(key, 0) + 1
    order = [(s, c, f) for s in Severity for c in LayerClass for f in (True, False)]
    return tuple(
        Count(severity=key[0], layer=key[1], fixable=key[2], number=tally[key])
        for key in order
        if key in tally
    )
