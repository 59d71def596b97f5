"""Prove the image of one region, which has layers of an image that was proven before."""

import json
from dataclasses import replace

from harness.core.proof import Proof
from harness.core.recorder import Recorder
from harness.core.regions import METRICS_PORT, Region
from harness.core.stages import BuiltImage
from harness.engine.load_layout import loaded
from harness.engine.provision import Engine
from harness.oci import ImageLayout
from harness.verify.acceptance import BRIEF, verify


def verify_region(
    engine: Engine, image: ImageLayout, region: Region, built: BuiltImage, *, full_size: bool
) -> Proof:
    """Load `image`, derived from `built` for `region`, into the engine and examine it in brief.

    A bad image results in failed checks. Raises `EnvironmentMissingError` if the engine cannot load
    it, and `NoProcessorError` if it cannot run it.
    """
    recorder = Recorder(quiet=True)
    with loaded(engine.client, image, f"{built.reference}-{region.name}") as found:
        config = json.loads(image.path(image.config).read_bytes())
        title = "the engine has exactly the layers that are published"
        with recorder.check("FR-003", title) as finding:
            layers = list(found.attrs["RootFS"]["Layers"])
            finding.measured = f"{len(layers)} layers"
            finding.expect(layers == config["rootfs"]["diff_ids"], f"the engine has {layers}")
        with recorder.check("FR-012", "no other port than its own is exposed") as finding:
            exposed = set(config["config"]["ExposedPorts"])
            finding.measured = ", ".join(sorted(exposed))
            finding.expect(
                exposed == {f"{port}/tcp" for port in (region.port, METRICS_PORT)},
                f"it exposes {finding.measured}",
            )
        proof = verify(
            engine,
            f"{built.reference}-{region.name}",
            (region,),
            full_size=full_size,
            recorder=recorder,
            stand_ins=built.stand_ins,
            examination=BRIEF,
        )
    return replace(proof, regions=(region.name,))
