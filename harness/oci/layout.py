"""Read, write and verify an OCI image layout on disk.

https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md
"""

import gzip
import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from harness.core.decode import member
from harness.core.errors import NotProvenError
from harness.core.transfer import transfer
from harness.core.untrusted import MALFORMED
from harness.oci.descriptor import Descriptor, MediaType, Platform, canonical_json

REGION_ANNOTATION = "com.finfocus.region"
"""On the layer with a region's binary: the region."""

MARKER = "oci-layout"
MARKER_CONTENT = {"imageLayoutVersion": "1.0.0"}
_READ = 1 << 20


@dataclass(frozen=True, kw_only=True)
class ImageLayout:
    """A layout directory with one image."""

    directory: Path
    manifest: Descriptor
    config: Descriptor
    layers: tuple[Descriptor, ...]
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """All blobs except the manifest, without duplicates, the small config first."""
        return tuple({d.digest: d for d in (self.config, *self.layers)}.values())

    @property
    def size(self) -> int:
        """Compressed bytes of all blobs except the manifest."""
        return sum(blob.size for blob in self.blobs)

    @property
    def platform(self) -> Platform:
        """The platform that the image runs on."""
        if self.manifest.platform is None:
            raise NotProvenError(f"the image in {self.directory} has no platform")
        return self.manifest.platform

    def path(self, descriptor: Descriptor) -> Path:
        """Return the file with the content of `descriptor`."""
        return blob_path(self.directory, descriptor.digest)


def blob_path(directory: Path, digest: str) -> Path:
    """Return the path of the blob with `digest` in a layout."""
    algorithm, _, digits = digest.partition(":")
    return directory / "blobs" / algorithm / digits


def write_marker(directory: Path) -> None:
    """Write the file that marks a directory as a layout; call it last."""
    (directory / MARKER).write_bytes(canonical_json(MARKER_CONTENT))


def index_of(*manifests: Descriptor, annotations: Mapping[str, str] | None = None) -> bytes:
    """Return the image index of `manifests`.

    https://github.com/opencontainers/image-spec/blob/v1.1.0/image-index.md
    """
    index: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MediaType.INDEX,
        "manifests": [manifest.to_json_dict() for manifest in manifests],
    }
    return canonical_json(index | ({"annotations": dict(annotations)} if annotations else {}))


def write_index(directory: Path, manifest: Descriptor) -> None:
    """Write `index.json` with one manifest."""
    (directory / "index.json").write_bytes(index_of(manifest))


def write_image(directory: Path, config: bytes, layers: Sequence[Descriptor]) -> ImageLayout:
    """Write the blobs of an image with `config` on `layers`, whose blobs are in the layout."""
    facts = json.loads(config)
    described = Descriptor.of(config, MediaType.CONFIG)
    manifest = canonical_json(
        {
            "schemaVersion": 2,
            "mediaType": MediaType.MANIFEST,
            "config": described.to_json_dict(),
            "layers": [layer.to_json_dict() for layer in layers],
        }
    )
    top = Descriptor.of(manifest, MediaType.MANIFEST, platform=platform_of(facts))
    _add_blob(blob_path(directory, described.digest), config)
    _add_blob(blob_path(directory, top.digest), manifest)
    return ImageLayout(
        directory=directory,
        manifest=top,
        config=described,
        layers=tuple(layers),
        labels=labels_of(facts),
    )


def _add_blob(path: Path, data: bytes) -> None:
    """Write `data` to `path` unless it is there: another process may be reading the layout."""
    if not path.exists() or path.read_bytes() != data:
        path.write_bytes(data)


def verify_layout(directory: Path) -> ImageLayout:
    """Load the image in `directory` after recomputing every digest.

    Checks the digests of manifest, config and layers, and of each layer uncompressed (the diff IDs
    in the config). Raises `NotProvenError` that names the first difference.
    """
    try:
        return _verify(directory)
    except FileNotFoundError as error:
        raise NotProvenError(
            f"{directory} is not a complete image: {error.filename} is missing"
        ) from (error)
    except MALFORMED as error:
        raise NotProvenError(f"cannot read the image in {directory}: {error}") from error


def _verify(directory: Path) -> ImageLayout:
    if json.loads((directory / MARKER).read_bytes()) != MARKER_CONTENT:
        raise NotProvenError(f"{directory / MARKER} does not have version 1.0.0")
    index = json.loads((directory / "index.json").read_bytes())
    (entry,) = member(index, tuple[Any, ...], "manifests")
    top = Descriptor.from_json_dict(entry)
    manifest = json.loads(_checked(directory, top))
    config = Descriptor.from_json_dict(member(manifest, Any, "config"))
    facts = json.loads(_checked(directory, config))
    platform = platform_of(facts)
    if top.platform is None or top.platform.architecture != platform.architecture:
        raise NotProvenError(
            f"the index of {directory} says {top.platform}, but the image config says {platform}"
        )
    listed = member(manifest, tuple[Any, ...], "layers")
    layers = tuple(Descriptor.from_json_dict(layer) for layer in listed)
    diff_ids = diff_ids_of(facts)
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


def labels_of(config: Any) -> dict[str, str]:
    """Return the labels in an image config; raise `ValueError` if they are invalid."""
    return dict(member(config, Mapping[str, str] | None, "config", "Labels") or {})


def platform_of(config: Any) -> Platform:
    """Return the platform in an image config; raise `ValueError` if it has none."""
    return Platform(architecture=member(config, str, "architecture"), os=member(config, str, "os"))


def diff_ids_of(config: Any) -> tuple[str, ...]:
    """Return the digests of the uncompressed layers; raise `ValueError` if there are none."""
    diff_ids: tuple[str, ...] = member(config, tuple[str, ...], "rootfs", "diff_ids")
    return diff_ids


def _checked(directory: Path, descriptor: Descriptor) -> bytes:
    """Return the content of `descriptor` after checking its digest."""
    path = blob_path(directory, descriptor.digest)
    with path.open("rb") as file:
        _compare(path, descriptor, f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}")
    return path.read_bytes()


def _check_layer(path: Path, layer: Descriptor, diff_id: str) -> None:
    """Check the digests of the file and of its uncompressed content in one pass."""
    with path.open("rb") as file:
        tee = _Tee(file)
        try:
            with gzip.GzipFile(fileobj=cast("IO[bytes]", tee)) as plain:
                found = hashlib.file_digest(plain, "sha256").hexdigest()
            while tee.read(_READ):
                pass
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise NotProvenError(f"{path} differs from what was sealed: {error}") from error
    _compare(path, layer, f"sha256:{tee.hash.hexdigest()}")
    if f"sha256:{found}" != diff_id:
        raise NotProvenError(f"{path} contains layer sha256:{found}, the config says {diff_id}")


def _compare(path: Path, descriptor: Descriptor, found: str) -> None:
    size = path.stat().st_size
    if (found, size) != (descriptor.digest, descriptor.size):
        raise NotProvenError(
            f"{path} differs from what was sealed: it is {found} with {size} bytes,"
            f" expected {descriptor.digest} with {descriptor.size}"
        )


class _Tee:
    """A file wrapper that hashes what is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.hash = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        self.hash.update(data)
        return data
