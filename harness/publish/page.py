"""Render the Markdown page of a release, used as the body of the GitHub release."""

import json
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from harness.core.text import human_size
from harness.core.untrusted import UNREADABLE
from harness.oci.export import REGION_ANNOTATION
from harness.publish.plan import ARTIFACTS, Plan
from harness.publish.push import PublishedImage
from harness.publish.seal import SBOM, SealedImage
from harness.publish.sign import KEY
from harness.registry import RegistryClient

Sizes = Mapping[str, Mapping[str, int]]
"""Architecture to region to compressed bytes."""


def render_page(published: PublishedImage, before: tuple[str, Sizes] | None) -> str:
    """Render the page; `before` is the previous release and its sizes, as from `sizes_of`."""
    plan = published.plan
    return (
        _environment()
        .get_template("release.md")
        .render(
            published=published,
            plan=plan,
            stand_ins={(s.kind, s.replaces): s for i in plan.images for s in i.stand_ins}.values(),
            key_variable=KEY,
            artifact_names={kind: name for name, kind in ARTIFACTS.items()},
            platforms={i.image.manifest.digest: i.image.platform for i in plan.images},
            sbom_type=ARTIFACTS[SBOM],
            before=before[0] if before else "",
            sizes=_sizes(plan, before),
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("harness.publish"),
        autoescape=False,  # Markdown
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"cell": _cell, "human_size": human_size}
    return environment


def sizes_of(client: RegistryClient, tag: str) -> Sizes | None:
    """Return the sizes of a release's region layers in the registry; None if it has none."""
    try:
        return _sizes_of(client, tag)
    except UNREADABLE:
        return None  # released by another tool


def _sizes_of(client: RegistryClient, tag: str) -> Sizes | None:
    found: dict[str, dict[str, int]] = {}
    index = client.manifest(tag)
    for entry in json.loads(index).get("manifests", []) if index else []:
        manifest = client.manifest(str(entry["digest"]))
        layers = json.loads(manifest).get("layers", []) if manifest else []
        regions = {
            layer["annotations"][REGION_ANNOTATION]: int(layer["size"])
            for layer in layers
            if REGION_ANNOTATION in (layer.get("annotations") or {})
        }
        if regions:
            found[str((entry.get("platform") or {}).get("architecture", ""))] = regions
    return found or None


def _cell(text: Any) -> str:
    return " ".join(str(text).replace("|", r"\|").split())


def _sizes(plan: Plan, before: tuple[str, Sizes] | None) -> dict[str, list[str]]:
    """Return for each region its size in each image, with the change since the last release."""
    old = before[1] if before else {}
    regions = dict.fromkeys(region for image in plan.images for region in _regions(image))
    return {
        region: [
            _size(_regions(image).get(region), old.get(image.architecture, {}).get(region), before)
            for image in plan.images
        ]
        for region in regions
    }


def _size(now: int | None, old: int | None, before: tuple[str, Sizes] | None) -> str:
    if now is None:
        return "–"
    if before is None:
        return human_size(now)
    if old is None:
        return f"{human_size(now)} (new)"
    if now == old:
        return f"{human_size(now)} (same)"
    return f"{human_size(now)} ({'+' if now > old else '−'}{human_size(abs(now - old))})"


def _regions(image: SealedImage) -> dict[str, int]:
    return {
        layer.annotations[REGION_ANNOTATION]: layer.size
        for layer in image.image.layers
        if REGION_ANNOTATION in layer.annotations
    }
