"""Draw the layers of the image as one bar."""

from markupsafe import Markup

from harness.core.proof import ImageFacts, Layer
from harness.core.text import human_size
from harness.report.markup import tag
from harness.report.words import short_digest

_WIDTH = 1080.0
_HEIGHT = 44
_GAP = 2.0
_ROOM_FOR_LABEL = 64.0


def draw_layers(image: ImageFacts) -> Markup:
    """Draw the layers side by side, each in proportion to its size."""
    total = sum(layer.size_bytes or 0 for layer in image.layers)
    parts: list[Markup] = []
    x = 0.0
    for layer in image.layers if total else ():
        width = _WIDTH * (layer.size_bytes or 0) / total
        parts.append(_layer(layer, x, width))
        x += width
    return tag(
        "svg",
        tag("title", f"{len(image.layers)} layers by size"),
        *parts,
        class_="layers",
        viewBox=f"0 0 {_WIDTH:g} {_HEIGHT}",
        role="img",
    )


def _layer(layer: Layer, x: float, width: float) -> Markup:
    label = Markup("")
    if width > _ROOM_FOR_LABEL:
        label = tag("text", layer_size(layer), x=x + width / 2, y=_HEIGHT / 2 + 4, class_="middle")
    # An empty layer still gets a hairline, for its tooltip.
    drawn = max(1.0, width - _GAP)
    return tag(
        "g",
        tag("title", f"{layer_size(layer)}: {layer.created_by or short_digest(layer.digest)}"),
        tag("rect", x=min(x, _WIDTH - drawn), y=0, width=drawn, height=_HEIGHT),
        label,
    )


def layer_size(layer: Layer) -> str:
    """Return the size of a layer in words."""
    return "unknown size" if layer.size_bytes is None else human_size(layer.size_bytes)
