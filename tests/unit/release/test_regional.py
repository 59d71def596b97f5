"""The image of each region: derived, proven, sealed and published with the image of all."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import ImageLoadError, ImageNotFound

from harness.core.errors import EnvironmentMissingError, NotProvenError, TagConflictError
from harness.core.proof import Proof, Status
from harness.core.regions import Region, load_regions
from harness.engine.load_layout import loaded
from harness.oci import ImageLayout, canonical_json, sha256, verify_layout
from harness.oci.regional import derive
from harness.publish.page import render_page
from harness.publish.plan import TagPolicy
from harness.publish.regional import SBOM
from harness.publish.results import to_json_dict
from harness.publish.seal import PROVENANCE, SEAL, SealedImage, seal, unseal
from harness.publish.statements import CYCLONEDX
from harness.scan.sbom import cut_to_region, modules_by_region
from tests.unit.scan_reports import BASE, EAST, sbom

from .fake_registry import FakeRegistry, fake_registry
from .made import (
    REGIONS,
    VERSION,
    both,
    is_of_region,
    proof_of,
    proven,
    publish_to,
    scanned,
    sealed,
)

TABLE = load_regions()
FIRST = REGIONS[0]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[SealedImage]:
    """A sealed image for each architecture."""
    return both(tmp_path_factory.mktemp("sealed"))


def config_of(image: ImageLayout) -> Any:
    return json.loads(image.path(image.config).read_bytes())


def test_image_of_a_region_has_its_layer_and_no_other_region(images: list[SealedImage]) -> None:
    """Layers, diff IDs and history agree; settings, ports and labels are of that region alone."""
    whole = images[0].image
    for made, region in zip(images[0].regional, REGIONS, strict=True):
        config = config_of(made.image)
        number = 1 + REGIONS.index(region)
        assert made.image.layers == (whole.layers[0], whole.layers[number])
        diff_ids = config_of(whole)["rootfs"]["diff_ids"]
        assert config["rootfs"]["diff_ids"] == [diff_ids[0], diff_ids[number]]
        steps = [step["created_by"] for step in config["history"] if "empty_layer" not in step]
        assert steps == ["layer 0", f"layer {number}"]
        assert config["history"][-1]["created_by"].startswith(f"harness: {region.name} of sha256:")
        assert set(config["config"]["ExposedPorts"]) == {f"{region.port}/tcp", "9090/tcp"}
        assert config["config"]["Env"][-1] == f"FINFOCUS_REGIONS={region.name}"
        assert config["config"]["Env"][:-1] == config_of(whole)["config"]["Env"]
        assert made.image.labels["com.finfocus.image.regions"] == region.name
        assert made.image.labels["org.opencontainers.image.title"] == f"finfocus {region.name}"
        assert region.name in made.image.labels["org.opencontainers.image.description"]
        assert made.image.labels["org.opencontainers.image.version"] == VERSION
        assert not {"container", "Image"} & {*config, *config["config"]}


def test_image_of_a_region_is_reproducible_and_adds_two_documents(tmp_path: Path) -> None:
    """Derived again it has the same bytes, and no blob is written again: others may read it."""
    made = sealed(tmp_path)
    blobs = made.image.directory / "blobs" / "sha256"
    before = {path: path.stat().st_mtime_ns for path in blobs.iterdir()}
    layers = {made.image.path(layer) for layer in made.image.layers}
    assert len(before) == len(layers) + 2 + 2 * len(REGIONS)
    for one, region in zip(made.regional, REGIONS, strict=True):
        assert derive(made.image, region, TABLE) == one.image
    after = {path: path.stat().st_mtime_ns for path in blobs.iterdir()}
    assert after == before


def test_region_without_a_layer_has_no_image(images: list[SealedImage]) -> None:
    """An image whose label names more regions than it has layers is not derived from."""
    with pytest.raises(NotProvenError, match=f"no layer for {TABLE[-1].name}"):
        derive(images[0].image, TABLE[-1], TABLE)


def test_history_that_does_not_fit_is_dropped(tmp_path: Path) -> None:
    """The history is optional; a wrong one would move a step to another layer."""
    whole = sealed(tmp_path).image
    config = config_of(whole)
    del config["history"][0]
    whole.path(whole.config).write_bytes(canonical_json(config))
    assert "history" not in config_of(derive(whole, FIRST, TABLE))


def test_layout_with_the_images_of_regions_stays_valid(images: list[SealedImage]) -> None:
    """Other tools still find exactly one image in the layout."""
    assert verify_layout(images[0].image.directory) == images[0].image


def test_every_image_of_a_region_is_in_the_proof(images: list[SealedImage]) -> None:
    """The proof of the image with all regions lists each, with its digest and its own result."""
    for image in images:
        rows = [check for check in image.proof.checks if check.requirement == "US-2"]
        assert [row.status for row in rows] == [Status.PASSED] * len(REGIONS)
        for row, made in zip(rows, image.regional, strict=True):
            assert made.region in row.title
            assert made.image.manifest.digest in row.detail
            assert made.proof.image.image_id == made.image.config.digest


@pytest.mark.parametrize(
    ("of", "message"),
    [
        pytest.param(
            lambda image: proof_of(image.config.digest, status=Status.FAILED),
            r"the image of us-west-2 is not proven: 1 failed\n  SC-002 ready: told",
            id="refuted",
        ),
        pytest.param(
            lambda _: proof_of("sha256:" + "1" * 64),
            "the proof of us-west-2 is for sha256:1111",
            id="of-another-image",
        ),
    ],
)
def test_unproven_image_of_a_region_is_not_sealed(of: Any, message: str, tmp_path: Path) -> None:
    """One region that does not work ends the release before anything is sealed."""

    def prove(image: ImageLayout, region: Region) -> Proof:
        return of(image) if region.name == "us-west-2" else proven(image, region)

    client, made = scanned(tmp_path / "scan")
    with pytest.raises(NotProvenError, match=message):
        seal(client, made, tmp_path / "sealed", prove)
    assert not (tmp_path / "sealed").exists()


def test_seal_keeps_the_images_of_regions(tmp_path: Path) -> None:
    """Another machine gets the same images, also if only their layers arrived."""
    made = sealed(tmp_path)
    for one in made.regional:
        made.image.path(one.image.config).unlink()
    assert unseal(made.directory).regional == made.regional
    assert made.image.path(made.regional[0].image.config).exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"us-west-2": {}}, "us-west-2 differs from what was sealed", id="other"),
        pytest.param({"xx-none-1": {}}, "has images of xx-none-1", id="more"),
    ],
)
def test_seal_with_other_images_of_regions_is_refused(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """The manifests in the seal are those that are derived from its image."""
    made = sealed(tmp_path)
    content = json.loads(made.file(SEAL).read_bytes())
    content["regional"] |= change
    made.file(SEAL).write_bytes(canonical_json(content))
    with pytest.raises(NotProvenError, match=message):
        unseal(made.directory)


@pytest.mark.parametrize("name", ["proof.json", SBOM])
def test_changed_file_of_a_region_is_found(name: str, tmp_path: Path) -> None:
    """Proofs and SBOMs of regions are sealed as well."""
    path = sealed(tmp_path).regional[1].file(name)
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(NotProvenError, match=f"regional/us-west-2/{name} differs"):
        unseal(tmp_path / "sealed-amd64")


def test_provenance_is_about_every_image(images: list[SealedImage]) -> None:
    """One statement names the image with all regions first, then each region's."""
    content = json.loads(images[0].file(PROVENANCE).read_bytes())
    manifests = [images[0].image.manifest, *(made.image.manifest for made in images[0].regional)]
    assert [s["digest"]["sha256"] for s in content["subject"]] == [m.digest[7:] for m in manifests]


def test_sbom_of_a_region_has_its_binary_and_the_system() -> None:
    """Binary, its modules and the system's packages stay; what only others need goes."""
    whole = sbom("us-east-1", "us-west-2")
    affects = [{"ref": "us-west-2/a"}], [{"ref": "us-west-2/a"}, {"ref": "shared"}]
    whole["vulnerabilities"] = [
        {"id": "A", "affects": affects[0]},
        {"id": "B", "affects": affects[1]},
    ]
    root = whole["metadata"]["component"]
    root["properties"].append({"name": "aquasecurity:trivy:DiffID", "value": EAST})
    cut = cut_to_region(whole, "us-east-1", image_id="sha256:2", diff_ids=[BASE])
    assert {c["bom-ref"] for c in cut["components"]} == {
        *("system", "musl", "us-east-1", "us-east-1/main", "us-east-1/a", "shared")
    }
    assert modules_by_region(cut) == {"us-east-1": 2}
    assert "us-west-2" not in json.dumps(cut)
    assert [v["id"] for v in cut["vulnerabilities"]] == ["B"]
    about = {
        p["name"].rpartition(":")[2]: p["value"] for p in cut["metadata"]["component"]["properties"]
    }
    assert about == {"ImageID": "sha256:2", "DiffID": BASE}
    assert cut["metadata"]["component"]["name"] == "image:v1-us-east-1"
    again = cut_to_region(whole, "us-west-2", image_id="sha256:3", diff_ids=[BASE])
    assert len({whole["serialNumber"], cut["serialNumber"], again["serialNumber"]}) == 3


def test_sbom_without_the_binary_is_not_sealed(tmp_path: Path) -> None:
    """An SBOM of something else ends the seal."""
    client, made = scanned(tmp_path / "scan")
    made.report.sbom.write_text(json.dumps(sbom("us-east-1")), encoding="utf-8")
    with pytest.raises(NotProvenError, match="does not list the binary of us-west-2"):
        seal(client, made, tmp_path / "sealed", proven)


def test_no_blob_is_pushed_twice(images: list[SealedImage], tmp_path: Path) -> None:
    """Every blob goes once; the regions add configs, and not one layer."""
    with fake_registry() as registry:
        publish_to(registry, images, tmp_path)
        uploads = registry.asked("POST .*uploads")
        assert uploads == len(registry.blobs)
        assert registry.received == sum(len(data) for data in registry.blobs.values())
    whole = {blob.digest for image in images for blob in image.image.blobs}
    configs = {made.image.config.digest for image in images for made in image.regional}
    assert len(configs) == 2 * len(REGIONS)
    assert whole | configs <= set(registry.blobs)
    assert {b.digest for i in images for m in i.regional for b in m.image.blobs} <= whole | configs


def index_at(registry: FakeRegistry, tag: str) -> Any:
    return json.loads(registry.manifests[registry.tags[tag]])


def test_fr_011_every_region_is_tagged_like_the_whole_image(
    images: list[SealedImage], tmp_path: Path
) -> None:
    """FR-011 (`latest` and version tags): an index of both platforms for each region and tag."""
    with fake_registry() as registry:
        published = publish_to(registry, images, tmp_path)
        assert registry.half == []
        wanted = {f"{tag}-{region.name}" for tag in (VERSION, "latest") for region in REGIONS}
        assert {tag for tag in registry.tags if is_of_region(tag)} == wanted
        for number, region in enumerate(REGIONS):
            index = index_at(registry, f"latest-{region.name}")
            assert (
                registry.tags[f"{VERSION}-{region.name}"] == registry.tags[f"latest-{region.name}"]
            )
            assert [m["digest"] for m in index["manifests"]] == [
                image.regional[number].image.manifest.digest for image in images
            ]
            assert [m["platform"]["architecture"] for m in index["manifests"]] == ["amd64", "arm64"]
            assert index["annotations"]["org.opencontainers.image.title"].endswith(region.name)
            assert registry.complete(registry.tags[f"latest-{region.name}"])
        page, told = render_page(published, None), to_json_dict(published)
        for made, listed in zip(published.plan.regional, told["regional"], strict=True):
            assert f"| `{VERSION}-{made.region}` | `{made.index.digest}` |" in page
            assert listed["index"]["digest"] == made.index.digest
            assert listed["tags"] == [f"{VERSION}-{made.region}", f"latest-{made.region}"]


def test_tag_of_a_region_is_requested_only_to_set_it(
    images: list[SealedImage], tmp_path: Path
) -> None:
    """For the plan, before it is set, and to read it back; a moving tag is in no first plan."""
    with fake_registry() as registry:
        publish_to(registry, images, tmp_path)
        for region in REGIONS:
            version = registry.asked(f"(HEAD|GET) .*manifests/{VERSION}-{region.name}$")
            latest = registry.asked(f"(HEAD|GET) .*manifests/latest-{region.name}$")
            assert (version, latest) == (3, 2)


def test_sbom_of_each_region_is_stated_of_its_image(
    images: list[SealedImage], tmp_path: Path
) -> None:
    """For each platform: its cut SBOM, about its manifest and the region's index."""
    with fake_registry() as registry:
        plan = publish_to(registry, images, tmp_path).plan
    for number, region in enumerate(REGIONS):
        for image in images:
            made = image.regional[number]
            (stated,) = [
                statement
                for statement in plan.statements
                if statement.predicate_type == CYCLONEDX
                and made.image.manifest in statement.subjects
            ]
            assert stated.subjects == (made.image.manifest, plan.regional[number].index)
            sbom = json.loads(stated.content)["predicate"]
            assert sbom == json.loads(made.file(SBOM).read_bytes())
            assert set(modules_by_region(sbom)) == {region.name}


def test_backport_moves_no_latest_of_a_region(images: list[SealedImage], tmp_path: Path) -> None:
    """The images of regions follow the rules of the whole image."""
    with fake_registry() as registry:
        newer = both(tmp_path / "newer", version="v1.3.0", seed=5)
        publish_to(registry, newer, tmp_path / "a", version="v1.3.0")
        before = dict(registry.tags)
        publish_to(registry, images, tmp_path / "b")
        assert {tag: registry.tags[tag] for tag in before} == before
        assert registry.tags[f"{VERSION}-us-east-1"] != before["latest-us-east-1"]


def test_revision_of_a_region_has_the_revision_in_its_tag(
    images: list[SealedImage], tmp_path: Path
) -> None:
    """v1.2.3-r1-us-east-1 follows v1.2.3-us-east-1, which stays."""
    with fake_registry() as registry:
        publish_to(registry, images, tmp_path / "a")
        before = registry.tags[f"{VERSION}-us-east-1"]
        again = both(tmp_path / "again", seed=5)
        published = publish_to(registry, again, tmp_path / "b", policy=TagPolicy(revision=1))
        assert published.plan.tag == f"{VERSION}-r1"
        assert registry.tags[f"{VERSION}-us-east-1"] == before
        assert before != registry.tags[f"{VERSION}-r1-us-east-1"]
        assert registry.tags[f"{VERSION}-r1-us-east-1"] == registry.tags["latest-us-east-1"]
        assert f"| `{VERSION}-r1-us-east-1` |" in render_page(published, None)


def test_published_region_never_changes(images: list[SealedImage], tmp_path: Path) -> None:
    """A region's tag with other content is refused before anything is sent."""
    data = b'{"layers":[]}'
    with fake_registry() as registry:
        registry.manifests[sha256(data)] = data
        registry.tags[f"{VERSION}-us-west-2"] = sha256(data)
        with pytest.raises(TagConflictError, match=f"{VERSION}-us-west-2 is already published"):
            publish_to(registry, images, tmp_path)
        assert registry.asked("POST|PUT|PATCH") == 0


def test_images_with_different_regions_are_refused(
    images: list[SealedImage], tmp_path: Path
) -> None:
    """A region for one platform only would be an incomplete index."""
    few = replace(images[1], regional=images[1].regional[:-1])
    told = "different regions: us-east-1 and us-east-1, us-west-2$"
    with fake_registry() as registry:
        with pytest.raises(NotProvenError, match=told):
            publish_to(registry, [images[0], few], tmp_path)
        assert registry.asked("POST|PUT|PATCH") == 0


class Engine:
    """Docker's `load`, which keeps what it got."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.names: set[str] = set()
        self.files: dict[str, bytes] = {}
        self.images = SimpleNamespace(load=self.load, get=self.get, remove=self.remove)

    def load(self, archive: Any) -> None:
        if self.fails:
            raise ImageLoadError("no space left")
        with tarfile.open(fileobj=io.BytesIO(archive.read())) as tar:
            for member in tar:
                file = tar.extractfile(member)
                assert file
                self.files[member.name] = file.read()
        (entry,) = json.loads(self.files["manifest.json"])
        self.names.update(entry["RepoTags"])

    def get(self, name: str) -> str:
        if name not in self.names:
            raise ImageNotFound(name)
        return name

    def remove(self, name: str) -> None:
        self.names.remove(self.get(name))


def test_engine_gets_the_image_in_both_forms(images: list[SealedImage]) -> None:
    """Config and layers for graph drivers, the index for containerd; the name goes afterwards."""
    image, engine = images[0].regional[0].image, Engine()
    client: Any = engine
    with loaded(client, image, "name:v1-us-east-1") as found:
        assert str(found) == "name:v1-us-east-1"
    assert engine.names == set()
    (entry,) = json.loads(engine.files["manifest.json"])
    assert sha256(engine.files[entry["Config"]]) == image.config.digest
    assert [sha256(engine.files[x]) for x in entry["Layers"]] == [x.digest for x in image.layers]
    (top,) = json.loads(engine.files["index.json"])["manifests"]
    assert top["digest"] == image.manifest.digest
    assert top["annotations"] == {"io.containerd.image.name": "docker.io/library/name:v1-us-east-1"}
    assert sha256(engine.files[f"blobs/sha256/{image.manifest.digest[7:]}"]) == top["digest"]


def test_engine_that_cannot_load_is_said(images: list[SealedImage]) -> None:
    """The message has the engine's words and a remedy."""
    client: Any = Engine(fails=True)
    with (
        pytest.raises(EnvironmentMissingError, match=r"cannot load name:v1: no space.*disk"),
        loaded(client, images[0].regional[0].image, "name:v1"),
    ):
        pass
