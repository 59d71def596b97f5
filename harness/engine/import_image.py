"""Load a single-layer image of any architecture into an engine, without a build."""

import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

import docker
from docker.models.images import Image

from harness.core.stages import Architecture

_CREATED = "2020-01-01T00:00:00Z"  # fixed, so that the same layer gives the same image ID


def load_layer(
    client: docker.DockerClient,
    layer: Path,
    reference: str,
    architecture: Architecture,
    config: Mapping[str, object],
) -> Image:
    """Load image `reference` whose only layer is the tar archive `layer`.

    `docker import` would use the architecture of the engine's machine; `docker load` reads it from
    the image. `config` is the object of that name in the image's configuration. Format:
    https://github.com/moby/docker-image-spec/blob/main/spec.md, "combined image JSON".
    """
    with layer.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    description = json.dumps(
        {
            "architecture": architecture.value,
            "os": "linux",
            "created": _CREATED,
            "config": dict(config),
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
            "history": [{"created": _CREATED, "created_by": "a stand-in"}],
        }
    ).encode()
    name = f"{hashlib.sha256(description).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [reference], "Layers": ["layer.tar"]}]
    with tempfile.TemporaryFile() as archive:
        with tarfile.open(fileobj=archive, mode="w") as tar:
            add_file(tar, name, description)
            add_file(tar, "manifest.json", json.dumps(manifest).encode())
            tar.add(layer, "layer.tar")
        archive.seek(0)
        client.images.load(archive)
    return client.images.get(reference)


def add_file(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a file with `data` to `tar`."""
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))
