"""A small vulnerability database in Trivy's format, for machines without registry access."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from harness.core.errors import EnvironmentMissingError, ScanImpossibleError
from harness.core.go_tools import GoProgram

SOURCE = Path(__file__).parent / "trivydb"
STAND_IN_SOURCE = "Stand-in"
"""Prefix of this database's source names, which Trivy repeats with each finding."""

GO = "go::GitHub Security Advisory Go"


@dataclass(frozen=True, kw_only=True)
class Advisory:
    """One vulnerability of one package, as stored in the database."""

    id: str
    package: str
    severity: str = "CRITICAL"
    bucket: str = GO  # or a system: "debian 12", "alpine 3.19"
    vulnerable: str = ""  # version range of a Go module: "< 0.17.0"
    fixed: str = ""  # first fixed version; "" if there is none
    title: str = ""


KNOWN = Advisory(
    id="CVE-2023-39325",
    package="golang.org/x/net",
    severity="HIGH",
    vulnerable="< 0.17.0",
    fixed="0.17.0",
    title="rapid stream resets can cause excessive work in net/http",
)
"""In every database; `harness.scan.database` trusts only databases that contain it."""


def make_database(
    directory: Path,
    advisories: tuple[Advisory, ...] = (KNOWN,),
    *,
    updated_at: datetime | None = None,
) -> None:
    """Write `trivy.db` and `metadata.json` with `advisories` into `directory`.

    Raises `ScanImpossibleError` if that fails, such as when Go is missing.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("trivy.db", "metadata.json"):
        (directory / name).unlink(missing_ok=True)
    data = _input(advisories, updated_at or datetime.now(UTC))
    program = _program()
    done = subprocess.run(
        [str(program), str(directory)],
        input=json.dumps(data),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ScanImpossibleError(f"cannot create the stand-in database: {done.stderr.strip()}")


def _input(advisories: tuple[Advisory, ...], updated_at: datetime) -> dict[str, Any]:
    """Input of the program in `trivydb/`."""
    severities = {"LOW": 1, "MEDIUM": 2, "HIGH": 3, "CRITICAL": 4}
    ids = {"go::": "ghsa", "debian": "debian", "alpine": "alpine"}
    sources: dict[str, Mapping[str, str]] = {}
    for advisory in advisories:
        kind = next((ids[key] for key in ids if advisory.bucket.startswith(key)), "ghsa")
        name = f"{STAND_IN_SOURCE} of {advisory.bucket.removeprefix('go::')}"
        sources[advisory.bucket] = {"ID": kind, "Name": name}
    return {
        "UpdatedAt": updated_at.isoformat(),
        "NextUpdate": (updated_at + timedelta(days=1)).isoformat(),
        "Sources": sources,
        "Advisories": [
            {
                "ID": advisory.id,
                "Bucket": advisory.bucket,
                "Package": advisory.package,
                "Advisory": _advisory(advisory),
            }
            for advisory in advisories
        ],
        "Vulnerabilities": {
            advisory.id: {
                "Title": advisory.title or advisory.id,
                "Severity": advisory.severity,
                "VendorSeverity": dict.fromkeys(
                    (*ids.values(), "nvd"), severities[advisory.severity]
                ),
            }
            for advisory in advisories
        },
    }


def _advisory(advisory: Advisory) -> dict[str, Any]:
    if not advisory.vulnerable:
        return {"FixedVersion": advisory.fixed}
    patched = [advisory.fixed] if advisory.fixed else []
    return {"VulnerableVersions": [advisory.vulnerable], "PatchedVersions": patched}


def _program() -> Path:
    """The program that writes databases."""
    try:
        return GoProgram(source=SOURCE, name="stand-in-database").provide()
    except EnvironmentMissingError as error:
        raise ScanImpossibleError(f"cannot create the stand-in database: {error}") from error
