"""Read the CycloneDX SBOM: the regional binaries and the number of Go modules of each.

https://cyclonedx.org/docs/1.6/json/: `components` have a `bom-ref`, `dependencies` link them.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from harness.core.decode import member, objects, text
from harness.core.errors import ScanImpossibleError
from harness.core.untrusted import reading
from harness.scan.findings import Json, region_of
from harness.scan.tool import REMEDY

_OF_WHOLE_IMAGE = {"Reference", "RepoDigest", "RepoTag", "Size"}
"""Trivy's properties of an image that are not true of the image of one region."""


@reading("the SBOM", ScanImpossibleError, REMEDY)
def modules_by_region(sbom: Json) -> dict[str, int]:
    """Map the region of each binary in `sbom` to its number of versioned Go modules."""
    components = {member(c, str, "bom-ref"): c for c in objects(sbom, "components")}
    edges = _edges(sbom)
    found = {}
    for reference, region in _binaries(sbom).items():
        reached = _reached([reference], edges)
        found[region] = sum(_is_module(components.get(other, {})) for other in reached)
    return dict(sorted(found.items()))


@reading("the SBOM", ScanImpossibleError, REMEDY)
def cut_to_region(
    sbom: Json, region: str, *, image_id: str, diff_ids: Sequence[str]
) -> dict[str, Any]:
    """Return `sbom` for the image of `region`: without the other binaries and what only they need.

    `image_id` and `diff_ids` (its uncompressed layers) are those of the region's image. The same
    image gives the same SBOM.
    """
    edges = _edges(sbom)
    foreign = {reference for reference, name in _binaries(sbom).items() if name != region}
    metadata = member(sbom, Json | None, "metadata") or {}
    root = member(metadata, Json | None, "component") or {}
    own = {r: [x for x in below if x not in foreign] for r, below in edges.items()}
    starts = [text(root, "bom-ref"), *(r for r in _binaries(sbom) if r not in foreign)]
    gone = foreign | (_reached(foreign, edges) - _reached(starts, own))
    return {
        **sbom,
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, image_id)}",
        "metadata": {
            **metadata,
            "component": _of_image(root, region, image_id, set(diff_ids)),
        },
        "components": [
            c for c in objects(sbom, "components") if member(c, str, "bom-ref") not in gone
        ],
        "dependencies": [
            {**entry, "dependsOn": [x for x in _needed(entry) if x not in gone]}
            for entry in objects(sbom, "dependencies")
            if member(entry, str, "ref") not in gone
        ],
        "vulnerabilities": list(_vulnerabilities(sbom, gone)),
    }


def _of_image(root: Json, region: str, image_id: str, diff_ids: set[str]) -> dict[str, Any]:
    """Return the component `root`, the image with all regions, as the image of `region`."""
    properties: list[Json] = []
    for entry in objects(root, "properties"):
        kind = member(entry, str, "name").rpartition(":")[2]
        if kind == "ImageID":
            properties.append({**entry, "value": image_id})
        elif kind not in _OF_WHOLE_IMAGE and (kind != "DiffID" or text(entry, "value") in diff_ids):
            properties.append(entry)
    # The purl, if any, has the digest of the image with all regions.
    kept = {name: value for name, value in root.items() if name != "purl"}
    return {**kept, "name": f"{text(root, 'name')}-{region}", "properties": properties}


def _vulnerabilities(sbom: Json, gone: set[str]) -> Iterable[dict[str, Any]]:
    """Yield the entries that affect a component that is not `gone`."""
    for entry in objects(sbom, "vulnerabilities"):
        named = objects(entry, "affects")
        affects = [x for x in named if member(x, str, "ref") not in gone]
        if affects or not named:
            yield {**entry, "affects": affects}


def _binaries(sbom: Json) -> dict[str, str]:
    """Map the reference of each regional binary in `sbom` to its region."""
    found = {}
    for component in objects(sbom, "components"):
        region = region_of(text(component, "name"))
        if text(component, "type") == "application" and region is not None:
            found[member(component, str, "bom-ref")] = region
    return found


def _edges(sbom: Json) -> dict[str, tuple[str, ...]]:
    return {member(d, str, "ref"): _needed(d) for d in objects(sbom, "dependencies")}


def _needed(dependency: Json) -> tuple[str, ...]:
    return member(dependency, tuple[str, ...] | None, "dependsOn") or ()


def _reached(starts: Iterable[str], edges: Mapping[str, Sequence[str]]) -> set[str]:
    """Return everything that one of `starts` depends on, directly or indirectly."""
    seen: set[str] = set()
    waiting = [reference for start in starts for reference in edges.get(start, ())]
    while waiting:
        reference = waiting.pop()
        if reference not in seen:
            seen.add(reference)
            waiting.extend(edges.get(reference, ()))
    return seen


def _is_module(component: Json) -> bool:
    return text(component, "purl").startswith("pkg:golang/") and bool(text(component, "version"))
