"""Compare the image of one region with the image of all: bytes, unpacking, readiness."""

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from docker.models.images import Image

from harness.core.process import run
from harness.core.regions import load_regions
from harness.engine.container import Options, running
from harness.engine.load_layout import loaded
from harness.oci import ImageLayout, export_image
from harness.oci.regional import derive
from harness.verify.target import Target

from .bare import first_answers
from .measure import Measure, alternate, measure, median

ROUNDS = 3
SHARE = 8
"""The image of a region may have this fraction of the bytes."""
GROUP, WHOLE = "one region", "all regions"
MORE_PERCENT = 1.0
PAUSE_SECONDS = 0.05


def measure_regional(target: Target, directory: Path) -> Iterator[Measure]:
    """Yield rows for the image of the first region, derived in `directory`."""
    whole = export_image(target.client, str(target.image.id), directory / "oci")
    table = load_regions()
    made = [derive(whole, region, table) for region in target.regions]
    # A stand-in base is ten times as large as the real one, which the target is for.
    judged = "base image" not in [stand_in.kind for stand_in in target.stand_ins()]
    yield _bytes("pulled", _size([made[0]]), _size([whole]), judged=judged)
    with loaded(target.client, made[0], f"{target.reference}-{target.names[0]}") as image:
        sizes = [int(found.attrs["Size"]) for found in (image, target.image)]
        yield _bytes("unpacked", *sizes, judged=judged)
        yield _seconds(
            "unpack",
            *alternate(
                ROUNDS,
                lambda: _unpacked(made[0], directory / "root"),
                lambda: _unpacked(whole, directory / "root"),
            ),
        )
        alone = _alone(target, image)
        yield _seconds("ready", *alternate(ROUNDS, lambda: _ready(alone), lambda: _ready(target)))
    added = _size([whole, *made]) - _size([whole])
    yield measure(
        group=GROUP,
        name=f"pushed in addition for {len(made)} images of one region",
        value=100 * added / _size([whole]),
        unit="%",
        bound=MORE_PERCENT,
        rule=f"of {WHOLE}",
    )


def _size(images: Sequence[ImageLayout]) -> int:
    """Return the bytes of all blobs and manifests, each once."""
    blobs = {b.digest: b.size for image in images for b in (image.manifest, *image.blobs)}
    return sum(blobs.values())


def _bytes(what: str, ours: int, whole: int, *, judged: bool) -> Measure:
    return measure(
        group=GROUP,
        name=f"one region: {what}",
        value=ours / 1e6,
        unit="MB",
        beside={WHOLE: whole / 1e6},
        bound=whole / SHARE / 1e6 if judged else None,
        rule=f"{WHOLE} / {SHARE}" if judged else "",
    )


def _seconds(what: str, ours: Sequence[float], whole: Sequence[float]) -> Measure:
    return measure(
        group=GROUP,
        name=f"one region: {what}",
        value=median(ours),
        unit="s",
        beside={WHOLE: median(whole)},
        runs=tuple(ours),
    )


def _unpacked(image: ImageLayout, root: Path) -> float:
    """Return the seconds to decompress and unpack every layer, as an engine does after a pull."""
    root.mkdir()
    try:
        began = time.monotonic()
        for layer in image.layers:
            run(["tar", "-xzf", str(image.path(layer)), "-C", str(root)])
        return time.monotonic() - began
    finally:
        shutil.rmtree(root)


def _alone(target: Target, image: Image) -> Target:
    reference = f"{target.reference}-{target.names[0]}"
    return replace(target, reference=reference, image=image, regions=target.regions[:1])


def _ready(target: Target) -> float:
    with running(target.client, target.reference, target.names, Options()) as container:
        ports = [region.port for region in target.regions]
        answers = first_answers(ports, container.address(), pause=PAUSE_SECONDS)
        return max(answers) - container.started_at
