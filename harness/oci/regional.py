"""Derive the image of one region from the image with all regions.

Each region's binary is one layer. The image of a region has the other layers, that layer, and a
config that selects the region, so it needs two new small documents and no new layer.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from harness.core.errors import NotProvenError
from harness.core.labels import REGIONS
from harness.core.regions import SELECTION, Region
from harness.oci.descriptor import canonical_json
from harness.oci.layout import REGION_ANNOTATION, ImageLayout, write_image

_TITLE, _DESCRIPTION = (f"org.opencontainers.image.{name}" for name in ("title", "description"))
# The engine's own additions (`container_config`, …) repeat what other regions have.
_SPECIFIED = {
    *("architecture", "author", "config", "created", "history", "os", "os.features"),
    *("os.version", "rootfs", "variant"),
}


def derive(image: ImageLayout, region: Region, table: Sequence[Region]) -> ImageLayout:
    """Write the image of `region` next to `image`, into its layout; return it.

    It has the layers of `image` except those of other regions, exposes no port of another region
    of `table`, and runs `region` alone. The same image gives the same bytes. Config:
    https://github.com/opencontainers/image-spec/blob/v1.1.0/config.md. Raises `NotProvenError` if
    `image` has no layer for `region`.
    """
    kept = [
        layer.annotations.get(REGION_ANNOTATION, "") in {"", region.name} for layer in image.layers
    ]
    layers = [layer for layer, keep in zip(image.layers, kept, strict=True) if keep]
    if not any(layer.annotations.get(REGION_ANNOTATION) == region.name for layer in layers):
        raise NotProvenError(f"the image in {image.directory} has no layer for {region.name}")
    whole: dict[str, Any] = json.loads(image.path(image.config).read_bytes())
    config = {name: value for name, value in whole.items() if name in _SPECIFIED}
    diff_ids = whole["rootfs"]["diff_ids"]
    config["rootfs"] = {
        "type": "layers",
        "diff_ids": [diff_id for diff_id, keep in zip(diff_ids, kept, strict=True) if keep],
    }
    config["config"] = _settings(whole.get("config") or {}, region, table)
    if history := _history(config.pop("history", None) or [], kept):
        derived = f"harness: {region.name} of {image.manifest.digest}"
        config["history"] = [*history, {"created_by": derived, "empty_layer": True}]
    return write_image(image.directory, canonical_json(config), layers)


def _history(history: Sequence[Mapping[str, Any]], kept: Sequence[bool]) -> list[Mapping[str, Any]]:
    """Return `history` without the steps of layers that are not `kept`; none if it is unusable."""
    if sum(not step.get("empty_layer") for step in history) != len(kept):
        return []
    layers = iter(kept)
    return [step for step in history if step.get("empty_layer") or next(layers)]


def _settings(whole: Mapping[str, Any], region: Region, table: Sequence[Region]) -> dict[str, Any]:
    """Return the container's settings of `whole`, changed for `region` alone."""
    settings = {name: value for name, value in whole.items() if name != "Image"}
    foreign = {f"{other.port}/tcp" for other in table if other != region}
    settings["ExposedPorts"] = {
        port: value
        for port, value in (whole.get("ExposedPorts") or {}).items()
        if port not in foreign
    }
    environ = [x for x in whole.get("Env") or [] if not x.startswith(f"{SELECTION}=")]
    settings["Env"] = [*environ, f"{SELECTION}={region.name}"]
    labels = dict(whole.get("Labels") or {})
    title = labels.get(_TITLE, "")
    settings["Labels"] = {
        **labels,
        REGIONS: region.name,
        _TITLE: f"{title} {region.name}".strip(),
        _DESCRIPTION: f"The {region.name} binary of {title}" if title else f"Only {region.name}",
    }
    return settings
