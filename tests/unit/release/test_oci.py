"""Layouts: the engine's config, deterministic layers, and verified digests."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.core.errors import NotProvenError
from harness.core.transfer import Transfer
from harness.oci import (
    Descriptor,
    ImageLayout,
    MediaType,
    canonical_json,
    sha256,
    verify_layout,
)
from harness.oci.compress import PIECE, compress
from harness.oci.export import region_in, write_layout
from harness.oci.layout import blob_path, write_index

from .saved import layers, saved, tarball

REGIONS = ("us-east-1", "eu-west-1", "us-gov-west-1")


def layout(
    directory: Path, contents: list[bytes] | None = None, architecture: str = "amd64"
) -> ImageLayout:
    image_id, data = saved(contents or layers(REGIONS), architecture)
    return write_layout(io.BytesIO(data), image_id, directory, Transfer("test", 0))


def test_config_is_the_engines_and_layers_are_what_was_tested(tmp_path: Path) -> None:
    """The config's digest is the image ID, and each layer decompresses to its diff ID."""
    contents = layers(REGIONS)
    image_id, data = saved(contents)
    made = write_layout(io.BytesIO(data), image_id, tmp_path / "oci", Transfer("test", 0))
    assert made.config.digest == image_id
    assert [gzip.decompress(made.path(x).read_bytes()) for x in made.layers] == contents
    assert [x.annotations.get("com.finfocus.region", "") for x in made.layers] == ["", *REGIONS]
    assert str(made.platform) == "linux/amd64"


def test_same_image_gives_the_same_bytes(tmp_path: Path) -> None:
    """Two exports of one image are identical."""
    first, second = layout(tmp_path / "a"), layout(tmp_path / "b")
    assert first.manifest == second.manifest
    names = [p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file()]
    assert len(names) == 3 + len(REGIONS) + 1 + 1
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_verified_layout_is_the_one_that_was_written(tmp_path: Path) -> None:
    """A layout read back with all digests recomputed equals the one written."""
    made = layout(tmp_path / "oci")
    assert verify_layout(tmp_path / "oci") == made


def test_layer_that_is_there_twice_is_stored_once(tmp_path: Path) -> None:
    """Two equal layers are two manifest entries and one blob."""
    contents = layers(REGIONS[:1])
    made = layout(tmp_path / "oci", [*contents, contents[0]])
    assert len(made.layers) == 3
    assert len(made.blobs) == 3
    verify_layout(tmp_path / "oci")


def test_containerd_store_is_understood(tmp_path: Path) -> None:
    """A manifest digest as ID, with compressed layers, gives the same layers."""
    contents = layers(REGIONS)
    image_id, data = saved(contents)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        config = tar.extractfile(f"{image_id[7:]}.json")
        assert config
        text = config.read()
    packed = [gzip.compress(c) for c in contents]
    manifest = json.dumps({"config": {"digest": sha256(text)}, "layers": []}).encode()
    index = json.dumps({"manifests": [{"digest": sha256(manifest)}]}).encode()
    blobs = [text, manifest, index, *packed]
    stream = tarball({f"blobs/sha256/{sha256(b)[7:]}": b for b in blobs})
    made = write_layout(io.BytesIO(stream), sha256(index), tmp_path / "o", Transfer("test", 0))
    assert made.config.digest == sha256(text)
    assert made.manifest == layout(tmp_path / "p", contents).manifest


def test_another_image_than_asked_for_is_refused(tmp_path: Path) -> None:
    """If the engine exports different content, nothing is written."""
    _, data = saved(layers(REGIONS, seed=2))
    image_id, _ = saved(layers(REGIONS, seed=3))
    with pytest.raises(NotProvenError, match="the engine's export is not"):
        write_layout(io.BytesIO(data), image_id, tmp_path / "oci", Transfer("test", 0))


def test_layer_with_other_bytes_is_refused(tmp_path: Path) -> None:
    """One flipped byte in an exported layer: it no longer matches the config."""
    contents = layers(REGIONS)
    image_id, data = saved(contents)
    at = data.index(contents[1]) + 600
    broken = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    with pytest.raises(NotProvenError, match=r"1 layers .* are missing from the engine's export"):
        write_layout(io.BytesIO(broken), image_id, tmp_path / "oci", Transfer("test", 0))


@pytest.mark.parametrize("name", ["index.json", "oci-layout", "manifest", "config", "layer"])
@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_every_damage_is_found(tmp_path: Path, name: str, damage: str) -> None:
    """A changed byte, truncation or missing file in any part is detected and named."""
    made = layout(tmp_path / "oci")
    parts = {"manifest": made.manifest, "config": made.config, "layer": made.layers[2]}
    path = made.path(parts[name]) if name in parts else tmp_path / "oci" / name
    data = path.read_bytes()
    at = data.index(b"sha256") + 8 if name == "index.json" else len(data) // 2
    path.unlink()
    if damage == "flip":
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    elif damage == "cut":
        path.write_bytes(data[:-3])
    with pytest.raises(NotProvenError, match=path.name if name in parts else "oci"):
        verify_layout(tmp_path / "oci")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"architecture": 7}, "architecture: 7 is not of type str", id="architecture"),
        pytest.param({"os": None}, "os: None is not of type str", id="no-os"),
        pytest.param({"rootfs": []}, r"rootfs: \[\] is not of type dict", id="rootfs"),
        pytest.param({"rootfs": {"diff_ids": "sha256"}}, "rootfs.diff_ids", id="diff-ids"),
        pytest.param({"config": {"Labels": {"a": 1}}}, "config.Labels", id="labels"),
    ],
)
def test_config_of_another_shape_is_refused(
    tmp_path: Path, change: dict[str, object], words: str
) -> None:
    """A config with correct digests and wrong types is a message that names the member."""
    made = layout(tmp_path / "oci")
    config = json.loads(made.path(made.config).read_bytes()) | change
    _replace(tmp_path / "oci", made, canonical_json(config))
    with pytest.raises(NotProvenError, match=f"cannot read the image in .*{words}"):
        verify_layout(tmp_path / "oci")


def _replace(directory: Path, made: ImageLayout, config: bytes) -> None:
    """Put `config` into a layout, with the digests in manifest and index."""
    described = Descriptor.of(config, MediaType.CONFIG)
    blob_path(directory, described.digest).write_bytes(config)
    manifest = json.loads(made.path(made.manifest).read_bytes())
    data = canonical_json(manifest | {"config": described.to_json_dict()})
    top = Descriptor.of(data, MediaType.MANIFEST, platform=made.platform)
    blob_path(directory, top.digest).write_bytes(data)
    write_index(directory, top)


@pytest.mark.parametrize("defect", [AttributeError, KeyError, TypeError])
def test_our_own_defect_is_not_taken_for_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, defect: type[Exception]
) -> None:
    """A mistake in the harness is reported as one, not as an image that cannot be read."""

    def broken(*_: object, **__: object) -> None:
        raise defect("a mistake")

    layout(tmp_path / "oci")
    monkeypatch.setattr("harness.oci.layout._check_layer", broken)
    with pytest.raises(defect, match="a mistake"):
        verify_layout(tmp_path / "oci")
    monkeypatch.setattr("harness.oci.export.tarfile.open", broken)
    with pytest.raises(defect, match="a mistake"):
        region_in(b"")


def test_layer_swapped_with_its_digests_is_found(tmp_path: Path) -> None:
    """A layer replaced together with its manifest and index entries does not match the config."""
    made = layout(tmp_path / "oci")
    evil = gzip.compress(b"evil", mtime=0)
    old = made.layers[1]
    made.path(Descriptor.of(evil, "x")).write_bytes(evil)
    text = made.path(made.manifest).read_text(encoding="utf-8")
    text = text.replace(old.digest, sha256(evil)).replace(f":{old.size}}}", f":{len(evil)}}}")
    data = text.encode()
    made.path(Descriptor.of(data, "x")).write_bytes(data)
    new = Descriptor.of(data, MediaType.MANIFEST, platform=made.platform)
    index = {"manifests": [new.to_json_dict()]}
    (tmp_path / "oci" / "index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(NotProvenError, match="the config says"):
        verify_layout(tmp_path / "oci")


@settings(max_examples=20, deadline=None)
@given(size=st.integers(0, 3 * PIECE + 5), seed=st.integers(0, 9))
def test_gzip_is_one_member_that_decompresses_to_what_went_in(size: int, seed: int) -> None:
    """Any length gives one gzip member with correct digests, sizes and checksum."""
    data = (random.Random(seed).randbytes(997) * (size // 997 + 1))[:size]
    target = io.BytesIO()
    made = compress(io.BytesIO(data), target)
    packed = target.getvalue()
    assert gzip.decompress(packed) == data
    assert (made.plain_digest, made.plain_size) == (sha256(data), size)
    assert (made.digest, made.size) == (f"sha256:{hashlib.sha256(packed).hexdigest()}", len(packed))
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
        file.read()
        assert file.mtime == 0


def test_gzip_does_not_depend_on_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread and eight threads write the same bytes."""
    data = random.Random(1).randbytes(3 * PIECE // 2) * 2
    found = set()
    for cores in (1, 8):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        target = io.BytesIO()
        compress(io.BytesIO(data), target)
        found.add(target.getvalue())
    assert len(found) == 1
