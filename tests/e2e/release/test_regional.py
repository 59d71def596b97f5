"""The images of single regions in a real registry, and on a real engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.core.process import ensure_tools
from harness.core.proof import Status
from harness.core.regions import load_regions
from harness.engine.load_layout import loaded
from harness.engine.provision import Engine
from harness.pipeline import verify_image

from ..conftest import VERSION, ImageNames
from .conftest import PROVEN, REPOSITORY, Cli, Sealed
from .test_release import sources


@pytest.fixture(autouse=True, scope="module")
def _skopeo() -> None:
    """The independent client."""
    ensure_tools({"skopeo": "skopeo"}, wanted_for="looking at the registry")


def test_images_of_regions_were_run(sealed: Sealed, engine: Engine) -> None:
    """Each proof is of its own image on this engine: ready, healthy, logged, measured, stopped."""
    for made in sealed.images[0].regional[:PROVEN]:
        checks = made.proof.by_requirement()
        for requirement in ("FR-003", "FR-004", "FR-012", "FR-013", "FR-015", "FR-019", "SC-003"):
            assert Status.PASSED in {check.status for check in checks[requirement]}, requirement
        assert [s.exit_code for s in made.proof.scenarios] == [0]
        assert made.proof.image.image_id == made.image.config.digest
        assert made.proof.requirements_without_check(made.proof.required) == ()
    names = [tag for image in engine.client.images.list() for tag in image.tags]
    assert not [name for name in names if name.endswith("-us-east-1")], "loaded images are removed"


def test_fr_011_images_of_regions_are_pulled_by_tag_and_add_no_layer(
    sealed: Sealed, cli: Cli
) -> None:
    """FR-011 (tags): each tag has both platforms; nothing is sent twice, and a percent more."""
    done = cli.run(*sources(sealed), "--json")
    assert done.returncode == 0, done.stderr
    published = json.loads(done.stdout)
    wanted = {f"{tag}-{region.name}" for tag in (VERSION, "latest") for region in load_regions()}
    assert cli.tags(regional=True) == wanted
    ours = sealed.images[0]
    whole = {blob.digest for image in sealed.images for blob in image.image.blobs}
    configs = {made.image.config.digest for image in sealed.images for made in image.regional}
    uploaded = cli.uploaded()
    assert whole | configs <= set(uploaded)
    assert len(uploaded) == len(set(uploaded))
    more = sum(made.image.config.size + made.image.manifest.size for made in ours.regional)
    assert more <= 0.01 * sum(blob.size for blob in ours.image.blobs)
    name = f"docker://{cli.registry.host}/{REPOSITORY}"
    for made, listed in list(zip(ours.regional, published["regional"], strict=True))[::11]:
        seen = cli.skopeo("inspect", "--raw", f"{name}:latest-{made.region}")
        index = json.loads(seen.stdout)
        assert index == json.loads(
            cli.skopeo("inspect", "--raw", f"{name}@{listed['index']['digest']}").stdout
        )
        assert made.image.manifest.digest in {entry["digest"] for entry in index["manifests"]}


def test_image_of_a_region_is_verified_by_the_command(
    sealed: Sealed, engine: Engine, broken: ImageNames, tmp_path: Path
) -> None:
    """`harness verify` runs every check on an image with one region."""
    made = sealed.images[0].regional[-1]
    reference = broken(made.region)
    with loaded(engine.client, made.image, reference) as found:
        proof = verify_image(reference, tmp_path, full_size=False)
        assert str(found.id) == made.image.config.digest
    assert proof.proven, proof.verdict
    assert proof.regions == (made.region,)
    assert proof.requirements_without_check(proof.required) == ("FR-018",)
