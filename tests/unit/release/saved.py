"""Fabricated `docker save` output, small enough for unit tests."""

from __future__ import annotations

import hashlib
import io
import json
import random
import tarfile
from collections.abc import Mapping, Sequence

from harness.core.regions import METRICS_PORT, load_regions
from harness.engine.import_image import add_file


def tarball(files: Mapping[str, bytes]) -> bytes:
    """Return a tar with `files`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            add_file(tar, name, data)
    return buffer.getvalue()


def layers(regions: Sequence[str], *, seed: int = 1, size: int = 20_000) -> list[bytes]:
    """Return one uncompressed layer per region, and one below them."""
    noise = random.Random(seed)
    names = ["etc/base", *(f"opt/bin/finfocus-plugin-aws-public-{name}" for name in regions)]
    return [tarball({name: noise.randbytes(size)}) for name in names]


def saved(
    contents: Sequence[bytes], architecture: str = "amd64", **labels: str
) -> tuple[str, bytes]:
    """Return the image ID and the `docker save` output of Docker 20.10 for these layers."""
    diff_ids = [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in contents]
    ports = [*(region.port for region in load_regions()), METRICS_PORT]
    config = json.dumps(
        {
            "architecture": architecture,
            "os": "linux",
            "container": "of the build",
            "config": {
                "Env": ["PATH=/bin", "FINFOCUS_PLUGIN_WEB_ENABLED=true"],
                "ExposedPorts": {f"{port}/tcp": {} for port in ports},
                "Image": "sha256:of-the-build",
                "Labels": {k.replace("_", "."): v for k, v in labels.items()},
            },
            "history": [
                *({"created_by": f"layer {number}"} for number, _ in enumerate(contents)),
                {"created_by": "USER 65532", "empty_layer": True},
            ],
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
    ).encode()
    identity = hashlib.sha256(config).hexdigest()
    names = [f"{number:064x}/layer.tar" for number, _ in enumerate(contents)]
    listing = [{"Config": f"{identity}.json", "RepoTags": None, "Layers": names}]
    files: dict[str, bytes] = {}
    for name, data in zip(names, contents, strict=True):
        files[name.replace("layer.tar", "VERSION")] = b"1.0"
        files[name.replace("layer.tar", "json")] = b"{}"
        files[name] = data
    files[f"{identity}.json"] = config
    files["manifest.json"] = json.dumps(listing).encode()
    return f"sha256:{identity}", tarball(files)
