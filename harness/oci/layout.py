"""An OCI image layout on disk: where things are, and whether they are what they say.

https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md
"""

import gzip
import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from harness.core.errors import NotProvenError
from harness.core.transfer import transfer
from harness.core.untrusted import UNREADABLE
from harness.oci.descriptor import Descriptor, MediaType, Platform, canonical_json

_MARKER = "oci-layout"
_VERSION = {"imageLayoutVersion": "1.0.0"}
_READ = 1 << 20


@dataclass(frozen=True, kw_only=True)
class ImageLayout:
    """A directory with one image in it."""

    directory: Path
    manifest: Descriptor
    config: Descriptor
    layers: tuple[Descriptor, ...]
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Everything but the manifest, each once, the small config first."""
        return tuple({d.digest: d for d in (self.config, *self.layers)}.values())

    @property
    def platform(self) -> Platform:
        """What the image runs on."""
        if self.manifest.platform is None:
            raise NotProvenError(f"{self.directory} has an image without a platform")
        return self.manifest.platform

    def path(self, descriptor: Descriptor) -> Path:
        """The file with the content of `descriptor`."""
        return blob_path(self.directory, descriptor.digest)


def blob_path(directory: Path, digest: str) -> Path:
    """Where a layout keeps the blob with `digest`."""
    algorithm, _, digits = digest.partition(":")
    return directory / "blobs" / algorithm / digits


def write_marker(directory: Path) -> None:
    """The file that makes a directory a layout; written last."""
    (directory / _MARKER).write_bytes(canonical_json(_VERSION))


def write_index(directory: Path, manifest: Descriptor) -> None:
    """`index.json` with one manifest."""
    index = {
        "schemaVersion": 2,
        "mediaType": MediaType.INDEX,
        "manifests": [manifest.to_json_dict()],
    }
    (directory / "index.json").write_bytes(canonical_json(index))


def verify_layout(directory: Path) -> ImageLayout:
    """The image in `directory`, after every digest in it was computed again.

    That are the digests of manifest, config and layers, and of each layer without its compression
    (the diff IDs of the config). Raises `NotProvenError` that names the first that differs.
    """
    try:
        return _verify(directory)
    except FileNotFoundError as error:
        raise NotProvenError(
            f"{directory} is no complete image: {error.filename} is not there"
        ) from (error)
    except UNREADABLE as error:
        raise NotProvenError(f"{directory} holds no image that can be read: {error}") from error


def _verify(directory: Path) -> ImageLayout:
    if json.loads((directory / _MARKER).read_bytes()) != _VERSION:
        raise NotProvenError(f"{directory / _MARKER} is not of version 1.0.0")
    index = json.loads((directory / "index.json").read_bytes())
    (entry,) = index["manifests"]
    top = Descriptor.from_json_dict(entry)
    manifest = json.loads(_checked(directory, top))
    config = Descriptor.from_json_dict(manifest["config"])
    facts: dict[str, Any] = json.loads(_checked(directory, config))
    if top.platform is None or top.platform.architecture != facts["architecture"]:
        raise NotProvenError(
            f"{directory} is said to be for {top.platform}, but its config says"
            f" {facts['os']}/{facts['architecture']}"
        )
    layers = tuple(Descriptor.from_json_dict(layer) for layer in manifest["layers"])
    diff_ids = facts["rootfs"]["diff_ids"]
    if len(layers) != len(diff_ids):
        raise NotProvenError(f"{directory} has {len(layers)} layers for {len(diff_ids)} diff IDs")
    with transfer(f"checking {directory}", sum(layer.size for layer in layers)) as progress:
        for layer, diff_id in zip(layers, diff_ids, strict=True):
            _check_layer(blob_path(directory, layer.digest), layer, diff_id)
            progress(layer.size)
    return ImageLayout(
        directory=directory,
        manifest=top,
        config=config,
        layers=layers,
        labels=labels_of(facts),
    )


def labels_of(config: Mapping[str, Any]) -> dict[str, str]:
    """The labels that an image's config has."""
    labels = (config.get("config") or {}).get("Labels") or {}
    return {str(name): str(value) for name, value in labels.items()}


def _checked(directory: Path, descriptor: Descriptor) -> bytes:
    """The content of `descriptor`, read whole and compared."""
    path = blob_path(directory, descriptor.digest)
    with path.open("rb") as file:
        _compare(path, descriptor, f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}")
    return path.read_bytes()


def _check_layer(path: Path, layer: Descriptor, diff_id: str) -> None:
    """Digest of the file, and of what is in it, read once."""
    with path.open("rb") as file:
        tee = _Tee(file)
        try:
            with gzip.GzipFile(fileobj=cast("IO[bytes]", tee)) as plain:
                found = hashlib.file_digest(plain, "sha256").hexdigest()
            while tee.read(_READ):
                pass
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise NotProvenError(f"{path} is not what was sealed: {error}") from error
    _compare(path, layer, f"sha256:{tee.hash.hexdigest()}")
    if f"sha256:{found}" != diff_id:
        raise NotProvenError(f"{path} holds a layer sha256:{found}, its config says {diff_id}")


def _compare(path: Path, descriptor: Descriptor, found: str) -> None:
    size = path.stat().st_size
    if (found, size) != (descriptor.digest, descriptor.size):
        raise NotProvenError(
            f"{path} is not what was sealed: it is {found} with {size} bytes,"
            f" expected {descriptor.digest} with {descriptor.size}"
        )


class _Tee:
    """A file that hashes what is read from it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.hash = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        self.hash.update(data)
        return data
