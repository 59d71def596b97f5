"""Read the CycloneDX SBOM: the regional binaries and the number of Go modules of each.

https://cyclonedx.org/docs/1.6/json/: `components` have a `bom-ref`, `dependencies` link them.
"""

from collections.abc import Mapping
from typing import Any

from harness.core.errors import ScanImpossibleError
from harness.core.untrusted import reading
from harness.scan.findings import region_of
from harness.scan.tool import REMEDY


@reading("the SBOM", ScanImpossibleError, REMEDY)
def modules_by_region(sbom: Mapping[str, Any]) -> dict[str, int]:
    """Map the region of each binary in `sbom` to its number of versioned Go modules."""
    components = {c["bom-ref"]: c for c in sbom.get("components") or ()}
    edges: dict[str, list[str]] = {
        d["ref"]: list(d.get("dependsOn") or ()) for d in sbom.get("dependencies") or ()
    }
    found = {}
    for reference, component in components.items():
        region = region_of(str(component.get("name", "")))
        if component.get("type") != "application" or region is None:
            continue
        reached = _reached(reference, edges)
        found[region] = sum(_is_module(components.get(other, {})) for other in reached)
    return dict(sorted(found.items()))


def _reached(start: str, edges: Mapping[str, list[str]]) -> set[str]:
    """Return everything that `start` depends on, directly or indirectly."""
    seen: set[str] = set()
    waiting = list(edges.get(start, ()))
    while waiting:
        reference = waiting.pop()
        if reference not in seen:
            seen.add(reference)
            waiting.extend(edges.get(reference, ()))
    return seen


def _is_module(component: Mapping[str, Any]) -> bool:
    return str(component.get("purl", "")).startswith("pkg:golang/") and bool(
        component.get("version")
    )
