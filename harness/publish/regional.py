"""The image of each region: derived from the exported image, proven, and kept with its seal.

Its layers are those of the image with all regions, so it adds a config, a manifest, its proof and
its SBOM. The provenance is one statement about all images of the architecture.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.console import step
from harness.core.errors import NotProvenError
from harness.core.proof import Check, Proof, Status
from harness.core.regions import Region, load_regions, regions_in_image
from harness.core.text import human_size
from harness.oci import ImageLayout, canonical_json
from harness.oci.regional import derive
from harness.report.json_report import render_json
from harness.scan.sbom import cut_to_region, modules_by_region

REGIONAL = "regional"
"""Directory in the seal with a directory per region."""
PROOF = "proof.json"
SBOM = "sbom.cdx.json"

ProveRegion = Callable[[ImageLayout, Region], Proof]
"""Runs the image of a region and returns what was found."""


@dataclass(frozen=True, kw_only=True)
class RegionalImage:
    """The proven image of one region, in the layout of the image with all regions."""

    region: str
    directory: Path  # of its proof and SBOM
    image: ImageLayout
    proof: Proof

    def file(self, name: str) -> Path:
        """Return the path of a sealed file, such as `SBOM`."""
        return self.directory / name


def derived(image: ImageLayout) -> Iterator[tuple[Region, ImageLayout]]:
    """Yield the image of each region of `image`, written into its layout."""
    table = load_regions()
    for region in regions_in_image(image.labels, table):
        yield region, derive(image, region, table)


def make_regional(
    images: Mapping[Region, ImageLayout], sbom: Path, directory: Path, prove: ProveRegion
) -> tuple[RegionalImage, ...]:
    """Prove each of `images`; write proofs and cut copies of `sbom` to `directory`.

    Raises `NotProvenError` for the first image that is not proven.
    """
    made = []
    for region, image in images.items():
        with step(f"proving the image of {region.name}"):
            proof = prove(image, region)
        _check(region.name, image, proof)
        path = directory / REGIONAL / region.name
        path.mkdir(parents=True)
        path.joinpath(PROOF).write_text(render_json(proof), encoding="utf-8")
        path.joinpath(SBOM).write_bytes(canonical_json(_sbom(sbom, region.name, image)))
        made.append(RegionalImage(region=region.name, directory=path, image=image, proof=proof))
    return tuple(made)


def load_regional(
    image: ImageLayout, sealed: Mapping[str, Any], directory: Path
) -> tuple[RegionalImage, ...]:
    """Load the images whose manifests are in `sealed`, by region, after deriving them again.

    Raises `NotProvenError` if one differs from the sealed one, or was not proven.
    """
    found = []
    for region, again in derived(image):
        if sealed.get(region.name) != again.manifest.to_json_dict():
            raise NotProvenError(
                f"the image of {region.name} differs from what was sealed in {directory}:"
                " create the directory again with --export"
            )
        path = directory / REGIONAL / region.name
        proof = Proof.from_json_dict(json.loads(path.joinpath(PROOF).read_bytes()))
        _check(region.name, again, proof)
        found.append(RegionalImage(region=region.name, directory=path, image=again, proof=proof))
    if foreign := set(sealed) - {made.region for made in found}:
        raise NotProvenError(
            f"{directory} has images of {', '.join(sorted(foreign))}, which the"
            " image with all regions lacks"
        )
    return tuple(found)


def regional_checks(images: Sequence[RegionalImage], whole: ImageLayout) -> tuple[Check, ...]:
    """Return one check per image for the proof of `whole`, the image with all regions."""
    checks = []
    for made in images:
        ready = next(c for c in made.proof.checks if c.requirement == "SC-002")
        sizes = f"{human_size(made.image.size)} compressed, of {human_size(whole.size)}"
        checks.append(
            Check(
                requirement="US-2",
                title=f"the image of {made.region} alone starts, answers, logs and stops",
                status=Status.PASSED,  # others are not sealed
                measured=f"{made.proof.tally}; ready after {ready.measured}",
                detail=f"{made.image.manifest.digest}: {sizes}",
            )
        )
    return tuple(checks)


def _check(region: str, image: ImageLayout, proof: Proof) -> None:
    """Raise `NotProvenError` unless `proof` passed and is about `image`."""
    if not proof.proven:
        failed = [check for check in proof.checks if check.status is Status.FAILED]
        words = [f"{c.requirement} {c.title}: {c.detail or c.measured}" for c in failed]
        raise NotProvenError("\n  ".join([f"the image of {region} is {proof.verdict}", *words]))
    # With the containerd image store, the engine's image IDs are digests of its manifests.
    if proof.image.image_id not in {image.config.digest, image.manifest.digest}:
        raise NotProvenError(
            f"the proof of {region} is for {proof.image.image_id}, its image is"
            f" {image.config.digest}"
        )


def _sbom(path: Path, region: str, image: ImageLayout) -> dict[str, Any]:
    """Return the SBOM at `path`, cut to `region`; it must still have the region's binary."""
    config = json.loads(image.path(image.config).read_bytes())
    cut = cut_to_region(
        json.loads(path.read_bytes()),
        region,
        image_id=image.config.digest,
        diff_ids=config["rootfs"]["diff_ids"],
    )
    if set(modules_by_region(cut)) != {region}:
        raise NotProvenError(f"the SBOM does not list the binary of {region}: scan the image again")
    return cut
