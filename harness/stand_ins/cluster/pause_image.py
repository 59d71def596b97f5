"""The image of the container that holds a pod's namespaces."""

import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path

from harness.engine.import_image import add_file
from harness.stand_ins.cluster.settings import PAUSE_IMAGE


def write_pause_image(program: Path, archive: Path) -> None:
    """Write the image that holds a pod's namespaces, in the format of `docker save`.

    https://github.com/moby/docker-image-spec/blob/v1.3.1/v1.2.md
    """
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        entry = tarfile.TarInfo("pause")
        entry.size, entry.mode = program.stat().st_size, 0o755
        with program.open("rb") as file:
            tar.addfile(entry, file)
    files = {
        "layer.tar": layer.getvalue(),
        "config.json": _pause_config(layer.getvalue()),
        "manifest.json": json.dumps(
            [{"Config": "config.json", "RepoTags": [PAUSE_IMAGE], "Layers": ["layer.tar"]}]
        ).encode(),
    }
    with tarfile.open(archive, "w") as tar:
        for name, data in files.items():
            add_file(tar, name, data)


def _pause_config(layer: bytes) -> bytes:
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), "amd64")
    return json.dumps(
        {
            "architecture": architecture,
            "os": "linux",
            "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"],
            },
        }
    ).encode()
