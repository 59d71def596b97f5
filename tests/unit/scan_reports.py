"""Handwritten Trivy JSON reports (schema version 2), and scan reports made from them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.core.proof import StandIn
from harness.core.regions import BINARY_PREFIX
from harness.scan.findings import read_findings, read_suppressed
from harness.scan.gate import finding_problems
from harness.scan.model import Database, ScanReport, counts_of

BASE, PACKAGES, EAST, WEST = (f"sha256:{digit * 64}" for digit in "abcd")
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def binary(region: str) -> str:
    return f"opt/finfocus/bin/{BINARY_PREFIX}{region}"


def vulnerability(id_: str, package: str, severity: str, layer: str, **more: Any) -> dict[str, Any]:
    return {
        "VulnerabilityID": id_,
        "PkgName": package,
        "InstalledVersion": "1.0.0",
        "Severity": severity,
        "Title": f"{package} is vulnerable",
        "Layer": {"DiffID": layer},
        **more,
    }


def result(target: str, layer: str, *found: dict[str, Any], **more: Any) -> dict[str, Any]:
    class_ = "os-pkgs" if "alpine" in target else "lang-pkgs"
    packages = [{"Name": "some", "Version": "1", "Layer": {"DiffID": layer}}]
    return {
        "Target": target,
        "Class": class_,
        "Packages": packages,
        "Vulnerabilities": list(found),
        **more,
    }


def trivy_report(*results: dict[str, Any], **system: Any) -> dict[str, Any]:
    return {
        "SchemaVersion": 2,
        "ArtifactName": "image:v1",
        "Metadata": {
            "OS": {"Family": "alpine", "Name": "3.19.9", **system},
            "DiffIDs": [BASE, PACKAGES, EAST, WEST],
        },
        "Results": list(results),
    }


def scan_report(*results: dict[str, Any], **changes: Any) -> ScanReport:
    raw = trivy_report(*results)
    findings = read_findings(raw, [BASE])
    values: dict[str, Any] = {
        "reference": "ghcr.io/owner/image:v1",
        "image_id": "sha256:1",
        "system": "alpine 3.19.9",
        "end_of_life": False,
        "os_packages": 30,
        "binaries": {"us-east-1": 8, "us-west-2": 9},
        "trivy_version": "0.74.0",
        "database": database(),
        "findings": findings,
        "suppressed": read_suppressed(raw),
        "problems": tuple(finding_problems(findings)),
        "warnings": (),
        "counts": counts_of(findings),
        "trivy_json": Path("trivy.json"),
        "sarif": Path("trivy.sarif"),
        "sbom": Path("sbom.cdx.json"),
        "summary": Path("scan.md"),
    }
    return ScanReport(**{**values, **changes})


def database(*, stand_in: bool = False) -> Database:
    return Database(
        updated_at=datetime(2026, 11, 23, 6, tzinfo=UTC),
        source="GitHub Security Advisory Go",
        cache=Path("cache"),
        stand_in=StandIn(kind="vulnerability database", replaces="Trivy's", why="no registry")
        if stand_in
        else None,
    )


def sbom(*regions: str, version: str = "v1.2.3") -> dict[str, Any]:
    """An SBOM in which each binary depends on its main module, and that on two others.

    The second is the same for all. The image also depends on a system with one package.
    """
    image = {"bom-ref": "image", "type": "container", "name": "image:v1"}
    properties = [("ImageID", "sha256:1"), ("RepoTag", "image:v1"), ("DiffID", BASE)]
    components = [
        {"bom-ref": "system", "type": "operating-system", "name": "alpine"},
        {"bom-ref": "musl", "type": "library", "purl": "pkg:apk/alpine/musl@1", "version": "1"},
    ]
    edges = [
        {"ref": "image", "dependsOn": ["system", *regions]},
        {"ref": "system", "dependsOn": ["musl"]},
    ]
    modules = {f"{region}/a" for region in regions} | {"shared" for _ in regions}
    for region in regions:
        components += [
            {"bom-ref": region, "type": "application", "name": binary(region)},
            {"bom-ref": f"{region}/main", "type": "library", "purl": "pkg:golang/main"},
        ]
        edges += [
            {"ref": region, "dependsOn": [f"{region}/main"]},
            {"ref": f"{region}/main", "dependsOn": [f"{region}/a", "shared"]},
        ]
    for module in sorted(modules):
        purl = f"pkg:golang/{module}@{version}"
        components.append({"bom-ref": module, "type": "library", "purl": purl, "version": version})
    return {
        "serialNumber": "urn:uuid:of-the-whole-image",
        "metadata": {
            "component": {
                **image,
                "properties": [
                    {"name": f"aquasecurity:trivy:{name}", "value": value}
                    for name, value in properties
                ],
            }
        },
        "components": components,
        "dependencies": edges,
    }
