"""The parts of the page about the image and the machine."""

from collections.abc import Iterator

from harness.core.proof import Environment, ImageFacts, Layer, Proof
from harness.core.text import human_size
from harness.report.markup import Html, tag
from harness.report.words import short_digest

_WIDTH = 1080.0
_HEIGHT = 44
_GAP = 2.0
_ROOM_FOR_LABEL = 64.0


def layers(image: ImageFacts) -> Html:
    """Render the layers as one bar, each in proportion to its size, and as a table."""
    heads = (tag("th", name, scope="col") for name in ("digest", "size", "made by"))
    rows = (
        tag(
            "tr",
            tag("td", tag("code", short_digest(layer.digest), title=layer.digest)),
            tag("td", _size(layer), class_="number"),
            tag("td", tag("code", layer.created_by)),
        )
        for layer in image.layers
    )
    table = tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows))
    count = len(image.layers)
    return tag(
        "section",
        tag("h2", "Image layers"),
        tag(
            "figure",
            tag("figcaption", f"{count} layers, {human_size(image.size_bytes)}, lowest first"),
            tag("div", _bar(image), class_="scroll"),
            tag("details", tag("summary", "Layers as a table"), table),
            *_more(image),
        ),
    )


def _bar(image: ImageFacts) -> Html:
    total = sum(layer.size_bytes or 0 for layer in image.layers)
    parts: list[Html] = []
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


def _layer(layer: Layer, x: float, width: float) -> Html:
    label = Html("")
    if width > _ROOM_FOR_LABEL:
        label = tag("text", _size(layer), x=x + width / 2, y=_HEIGHT / 2 + 4, class_="middle")
    # An empty layer still gets a hairline, for its tooltip.
    drawn = max(1.0, width - _GAP)
    return tag(
        "g",
        tag("title", f"{_size(layer)}: {layer.created_by or short_digest(layer.digest)}"),
        tag("rect", x=min(x, _WIDTH - drawn), y=0, width=drawn, height=_HEIGHT),
        label,
    )


def _size(layer: Layer) -> str:
    return "unknown size" if layer.size_bytes is None else human_size(layer.size_bytes)


def _more(image: ImageFacts) -> Iterator[Html]:
    yield _list(
        "Digests and labels",
        [
            ("image id", image.image_id),
            *(("repository digest", digest) for digest in image.repo_digests),
            ("created", image.created or "unknown"),
            *sorted(image.labels.items()),
        ],
    )


def environment(proof: Proof) -> Html:
    """Render the machine and tools that the measurements depend on."""
    machine: Environment = proof.environment
    return tag(
        "section",
        tag("h2", "Environment"),
        tag(
            "dl",
            *_pairs(
                [
                    ("engine", f"{machine.engine_name} {machine.engine_version}"),
                    ("engine API", machine.engine_api_version),
                    ("storage driver", machine.storage_driver),
                    ("host", machine.host_os),
                    ("kernel", machine.kernel),
                    ("processors", str(machine.cpus)),
                    ("memory", human_size(machine.memory_bytes)),
                    ("Python", machine.python),
                    ("harness", machine.harness_version),
                    ("started", f"{proof.started_at:%Y-%m-%d %H:%M:%S %Z}"),
                    ("finished", f"{proof.finished_at:%Y-%m-%d %H:%M:%S %Z}"),
                ]
            ),
            class_="facts",
        ),
    )


def _list(title: str, pairs: list[tuple[str, str]]) -> Html:
    return tag("details", tag("summary", title), tag("dl", *_pairs(pairs), class_="facts wide"))


def _pairs(pairs: list[tuple[str, str]]) -> Iterator[Html]:
    return (tag("div", tag("dt", key), tag("dd", value)) for key, value in pairs)
