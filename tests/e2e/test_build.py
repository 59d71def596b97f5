"""The build: reproducible layers, a region more, and refusals."""

import shutil
from pathlib import Path

import pytest

from harness.build import build_record
from harness.engine import Engine
from harness.errors import BuildError
from harness.generate import outdated
from harness.model import BuiltImage
from harness.pipeline import BuildConfig, build
from harness.proof import Status
from harness.regions import IMAGE_DIRECTORY, load_regions
from harness.verify.recorder import Recorder
from harness.verify.service_checks import READY_LIMIT
from harness.verify.stop_checks import stop_and_check
from harness.verify.target import Target, find_image

from .conftest import VERSION


def copy_of_image(tmp_path: Path) -> Path:
    return Path(shutil.copytree(IMAGE_DIRECTORY, tmp_path / "image"))


def layers(image: BuiltImage) -> list[object]:
    return [layer["digest"] for layer in image.layers]


def test_two_builds_from_the_same_inputs_have_the_same_layers(
    engine: Engine, image: BuiltImage, tmp_path: Path
) -> None:
    """Other modes and times in the checkout, and no cache, make no other layer."""
    directory = copy_of_image(tmp_path)
    for path in directory.rglob("*.lua"):
        path.chmod(0o600)
        path.touch()
    # A line that changes nothing but the cache key of everything below it.
    text = (directory / "Dockerfile").read_text(encoding="utf-8")
    changed = text.replace("RUN set -eu; \\\n", "RUN set -eu; : again; \\\n", 1)
    assert changed != text
    (directory / "Dockerfile").write_text(changed, encoding="utf-8")
    again = build(
        engine,
        BuildConfig(
            version=VERSION,
            image_directory=directory,
            output=tmp_path,
            reference="finfocus-broken:again",
        ),
    )
    assert layers(again) == layers(image)


def test_thirteenth_region_is_one_line(engine: Engine, tmp_path: Path) -> None:
    """A thirteenth row in the table is enough: all thirteen are built, ready and stopped."""
    directory = copy_of_image(tmp_path)
    with (directory / "regions").open("a", encoding="utf-8") as file:
        file.write("eu-central-1      8013\n")
    regions = load_regions(directory)
    outdated([directory / "Dockerfile"], regions, write=True)
    made = build(
        engine,
        BuildConfig(
            version=VERSION,
            image_directory=directory,
            output=tmp_path,
            reference="finfocus-broken:thirteen",
        ),
    )
    target = Target(
        client=engine.client,
        reference=made.reference,
        image=find_image(engine.client, made.reference),
        regions=regions,
        recorder=Recorder(),
    )
    with target.scenario("thirteen", "thirteen regions") as (container, watch):
        container.start(target.ports)
        assert set(watch.await_ready(READY_LIMIT)) == set(target.names)
        stop_and_check(target, container, watch, title="thirteen stop")
    assert [c.status for c in target.recorder.checks] == [Status.PASSED]
    assert len(target.names) == 13


def test_build_record_has_every_input(image: BuiltImage) -> None:
    """FR-003: the record names all twelve tarballs with checksums and every file of the image."""
    record = build_record(image, IMAGE_DIRECTORY)
    assert len(record["inputs"]["assets"]) == len(load_regions())
    assert all(len(asset["sha256"]) == 64 for asset in record["inputs"]["assets"])
    assert "lib/supervise.sh" in record["inputs"]["files"]
    assert len(record["layers"]) > len(load_regions())


def test_unknown_base_package_fails_the_build(engine: Engine, tmp_path: Path) -> None:
    """A package that the base does not have is an error of the build with its own words."""
    directory = copy_of_image(tmp_path)
    text = (directory / "Dockerfile").read_text(encoding="utf-8")
    (directory / "Dockerfile").write_text(
        text.replace("apk add --no-cache bash", "apk add --no-cache no-such-package bash"),
        encoding="utf-8",
    )
    with pytest.raises(BuildError, match="no-such-package"):
        build(engine, BuildConfig(version=VERSION, image_directory=directory, output=tmp_path))
