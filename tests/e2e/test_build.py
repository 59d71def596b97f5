"""The build: reproducible layers, an added region, and rejected input."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from harness.build.image import build_record
from harness.core.errors import BuildError, CommandError
from harness.core.labels import REGIONS
from harness.core.process import run
from harness.core.proof import Status
from harness.core.recorder import Recorder
from harness.core.regions import IMAGE_DIRECTORY, METRICS_PORT, load_regions
from harness.core.sections import outdated
from harness.core.settings import load_settings
from harness.core.stages import BuiltImage
from harness.engine.provision import Engine
from harness.engine.pull import find_image
from harness.generate import sections
from harness.pipeline import build, regions_of
from harness.stand_ins.release import StandInPlugin, serve_release
from harness.verify.environment_checks import ENVIRON
from harness.verify.limits import PROMISED
from harness.verify.ready_checks import check_ready
from harness.verify.service_checks import check_service
from harness.verify.stop_checks import stop_and_check
from harness.verify.target import Target

from .conftest import ImageNames, hermetic


def copy_of_image(tmp_path: Path) -> Path:
    return Path(shutil.copytree(IMAGE_DIRECTORY, tmp_path / "image"))


def layers(image: BuiltImage) -> list[object]:
    return [layer["digest"] for layer in image.layers]


def test_two_builds_from_the_same_inputs_have_the_same_layers(
    engine: Engine, image: BuiltImage, broken: ImageNames, tmp_path: Path
) -> None:
    """Other modes and times in the checkout, and no cache, do not change the layers."""
    directory = copy_of_image(tmp_path)
    for path in directory.rglob("*.lua"):
        path.chmod(0o600)
        path.touch()
    # A line that changes only the cache key of everything below it.
    text = (directory / "Dockerfile").read_text(encoding="utf-8")
    changed = text.replace("RUN set -eu; \\\n", "RUN set -eu; : again; \\\n", 1)
    assert changed != text
    (directory / "Dockerfile").write_text(changed, encoding="utf-8")
    again = build(
        engine,
        hermetic(image_directory=directory, output=tmp_path, reference=broken("again")),
    )
    assert layers(again) == layers(image)


def test_another_region_is_one_line(engine: Engine, broken: ImageNames, tmp_path: Path) -> None:
    """One more row in the table is enough: all regions are built, ready and stopped."""
    directory = copy_of_image(tmp_path)
    with (directory / "regions").open("a", encoding="utf-8") as file:
        file.write("aq-new-1      8999\n")
    regions = load_regions(directory)
    outdated([directory / "Dockerfile"], sections(regions, load_settings()), write=True)
    made = build(
        engine,
        hermetic(image_directory=directory, output=tmp_path, reference=broken("more")),
    )
    target = Target(
        client=engine.client,
        reference=made.reference,
        image=find_image(engine.client, made.reference),
        regions=regions,
        recorder=Recorder(),
    )
    with target.scenario("more", "one region more") as (container, watch):
        container.start(target.ports)
        assert set(watch.await_ready(PROMISED.ready)) == set(target.names)
        stop_and_check(target, container, watch, title="one region more")
    assert [c.status for c in target.recorder.checks] == [Status.PASSED]
    assert len(target.names) == len(load_regions()) + 1


LEFT_OUT = ("us-gov-west-1", "us-gov-east-1")


def test_fr_018_image_without_two_regions(
    engine: Engine, image: BuiltImage, broken: ImageNames, tmp_path: Path
) -> None:
    """FR-018 (missing tarball fails the build): table, ports, label and metrics follow WITHOUT."""
    config = hermetic(without=LEFT_OUT, output=tmp_path, reference=broken("ten"))
    # A cached build would hide that the classic builder fails at an empty layer.
    made = build(engine, replace(config, no_cache=True))
    found = find_image(engine.client, made.reference)
    regions = tuple(r for r in load_regions() if r.name not in LEFT_OUT)
    assert found.labels[REGIONS] == ",".join(r.name for r in regions)
    assert regions_of(engine, made.reference) == regions == made.release.regions
    ports = {f"{port}/tcp" for port in (*(r.port for r in regions), METRICS_PORT)}
    assert set(found.attrs["Config"]["ExposedPorts"]) == ports
    # The components with the table, and the two regions: no other layer changes.
    assert len(layers(made)) == len(layers(image))
    assert len(set(layers(made)) - set(layers(image))) == 1 + len(LEFT_OUT)
    assert all(layer["size_bytes"] for layer in made.layers)
    record = build_record(made, IMAGE_DIRECTORY)
    assert record["left_out"] == list(LEFT_OUT)
    recorder = Recorder()
    target = Target(
        client=engine.client,
        reference=made.reference,
        image=found,
        regions=regions,
        recorder=recorder,
    )
    with target.scenario("ten", "ten regions", environ=ENVIRON) as (container, watch):
        container.start(target.ports)
        check_ready(target, container, watch)
        check_service(target, container, watch)
        stop_and_check(target, container, watch, title="ten stop")
    assert {c.status for c in recorder.checks} == {Status.PASSED}, recorder.checks


def test_fr_018_plain_docker_build_without_two_regions(
    engine: Engine, image: BuiltImage, broken: ImageNames, tmp_path: Path
) -> None:
    """FR-018: WITHOUT alone is enough, and the image names the missing regions."""
    with serving(image) as url:
        made, _ = engine.client.images.build(
            path=str(IMAGE_DIRECTORY),
            tag=broken("plain-ten"),
            network_mode="host",
            rm=True,
            buildargs={
                "VERSION": image.version,
                "RELEASE_BASE_URL": url,
                "BASE_IMAGE": image.base.reference,
                "WITHOUT": ", ".join(LEFT_OUT),
            },
        )
    names = {region.name for region in regions_of(engine, str(made.id))}
    assert names == {region.name for region in load_regions()} - set(LEFT_OUT)
    table = engine.client.containers.run(
        str(made.id), entrypoint=["cat", "/opt/finfocus/regions"], remove=True
    ).decode()
    assert {line.split()[0] for line in table.splitlines() if line[0] != "#"} == names


@pytest.mark.parametrize(
    "buildkit", [pytest.param("0", id="classic-builder"), pytest.param("1", id="buildkit")]
)
def test_plain_docker_build_needs_no_harness(
    engine: Engine, image: BuiltImage, broken: ImageNames, buildkit: str
) -> None:
    """FR-002 (`VERSION` selects the release): plain `docker build` works, with either builder."""
    docker = client_with_builders()
    reference = broken("plain")
    with serving(image) as url:
        command = [docker, "build", "--network", "host", "--tag", reference]
        for name, value in {
            "VERSION": image.version,
            "RELEASE_BASE_URL": url,
            "BASE_IMAGE": image.base.reference,
        }.items():
            command += ["--build-arg", f"{name}={value}"]
        run([*command, str(IMAGE_DIRECTORY)], environ={"DOCKER_BUILDKIT": buildkit})
    made = engine.client.images.get(reference)
    pairs = zip(made.attrs["RootFS"]["Layers"], layers(image), strict=True)
    differ = [number for number, (plain, ours) in enumerate(pairs) if plain != ours]
    # BuildKit cleans up /etc after the step of layer 1, and so changes its time.
    assert differ == ([1] if buildkit == "1" else [])
    assert made.labels["org.opencontainers.image.version"] == image.version


def client_with_builders() -> str:
    """Return a docker client with both builders, built in or as a plugin."""
    for path in ("/usr/bin/docker", shutil.which("docker") or "docker"):
        with suppress(CommandError):
            run([path, "build", "--help"], environ={"DOCKER_BUILDKIT": "1"})
            return path
    pytest.skip("there is no docker client with BuildKit; the engine's own builder is used")


@contextmanager
def serving(image: BuiltImage) -> Iterator[str]:
    """Serve the release of `image`; yield its address."""
    architecture = image.architecture
    with serve_release(StandInPlugin(), image.version, architecture, load_regions()) as url:
        yield url


def test_build_record_has_every_input(image: BuiltImage) -> None:
    """FR-003 (one tarball per region): the record has all checksums and every file of the image."""
    record = build_record(image, IMAGE_DIRECTORY)
    assert len(record["inputs"]["assets"]) == len(load_regions())
    assert all(len(asset["sha256"]) == 64 for asset in record["inputs"]["assets"])
    assert "supervisor/step.lua" in record["inputs"]["files"]
    assert len(record["layers"]) > len(load_regions())


def test_unknown_base_package_fails_the_build(engine: Engine, tmp_path: Path) -> None:
    """A package missing from the base fails the build with the package manager's error."""
    directory = copy_of_image(tmp_path)
    text = (directory / "Dockerfile").read_text(encoding="utf-8")
    (directory / "Dockerfile").write_text(
        text.replace("apk add --no-cache bash", "apk add --no-cache no-such-package bash"),
        encoding="utf-8",
    )
    with pytest.raises(BuildError, match="no-such-package"):
        build(engine, hermetic(image_directory=directory, output=tmp_path))
