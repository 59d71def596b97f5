"""Images of a few programs, for pods that the cluster of a smoke test needs."""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping
from pathlib import Path

from harness.engine.import_image import add_file


def write_program_image(programs: Mapping[str, Path], reference: str, archive: Path) -> None:
    """Write an image with `programs`, by their paths in it, in `docker save`'s format.

    Nothing else is in it, and it runs the first of them.
    https://github.com/moby/docker-image-spec/blob/v1.3.1/v1.2.md
    """
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for path, program in programs.items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode = program.stat().st_size, 0o755
            with program.open("rb") as file:
                tar.addfile(entry, file)
    files = {
        "layer.tar": layer.getvalue(),
        "config.json": _config(next(iter(programs)), layer.getvalue()),
        "manifest.json": json.dumps(
            [{"Config": "config.json", "RepoTags": [reference], "Layers": ["layer.tar"]}]
        ).encode(),
    }
    with tarfile.open(archive, "w") as tar:
        for name, data in files.items():
            add_file(tar, name, data)


def _config(entrypoint: str, layer: bytes) -> bytes:
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), "amd64")
    return json.dumps(
        {
            "architecture": architecture,
            "os": "linux",
            "config": {"Entrypoint": [entrypoint], "User": "65535:65535"},
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"],
            },
        }
    ).encode()
