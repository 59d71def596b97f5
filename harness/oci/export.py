"""Export an image from the engine as an OCI image layout, without a registry.

The output of `docker save` is streamed once: each layer is hashed uncompressed (its diff ID),
compressed and hashed again. The config is copied byte for byte, so that the layout's config digest
is the ID of the tested image.
"""

import gzip
import io
import json
import re
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import docker
import requests
import urllib3
from docker.errors import DockerException

from harness.core.console import step
from harness.core.decode import member
from harness.core.errors import EnvironmentMissingError, NotProvenError
from harness.core.files import OWN, replace_directory
from harness.core.regions import BINARY_PREFIX
from harness.core.transfer import Transfer, transfer
from harness.core.untrusted import MALFORMED
from harness.oci.compress import Readable, compress
from harness.oci.descriptor import Descriptor, MediaType, sha256
from harness.oci.layout import (
    REGION_ANNOTATION,
    ImageLayout,
    blob_path,
    diff_ids_of,
    write_image,
    write_index,
    write_marker,
)

_JSON_LIMIT = 4 << 20
_BROKEN_OFF = (
    *(tarfile.TarError, EOFError, zlib.error),
    *(requests.RequestException, urllib3.exceptions.HTTPError),
)
_BINARY = re.compile(rf"(?:^|/){re.escape(BINARY_PREFIX)}(?P<region>[a-z0-9-]+)$")


def export_image(client: docker.DockerClient, image_id: str, directory: Path) -> ImageLayout:
    """Write image `image_id` to `directory` as an OCI image layout with one manifest.

    https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md. The same image gives
    the same bytes. Raises `NotProvenError` if the engine sends different content, and
    `EnvironmentMissingError` if writing fails; `directory` is removed in both cases.
    """
    try:
        size = int(client.images.get(image_id).attrs["Size"])
        with (
            removed_unless_complete(directory),
            transfer(f"exporting {image_id[7:19]}", size) as progress,
        ):
            stream = cast("Readable", _Stream(client.api.get_image(image_id)))
            return write_layout(stream, image_id, directory, progress)
    except DockerException as error:
        raise EnvironmentMissingError(f"the engine cannot export {image_id}: {error}") from error
    except _BROKEN_OFF as error:
        raise EnvironmentMissingError(
            f"the engine stopped while exporting {image_id}: {error}; see the engine's log"
        ) from error
    except MALFORMED as error:
        raise NotProvenError(
            f"cannot read the engine's export of {image_id}: {error}; see the engine's log"
        ) from error
    except OSError as error:
        raise EnvironmentMissingError(
            f"cannot write {image_id} to {directory}: {error.strerror or error};"
            f" it needs up to {size / 1e9:.1f} GB of free disk space"
        ) from error


def write_layout(
    saved: Readable, image_id: str, directory: Path, progress: Transfer
) -> ImageLayout:
    """Write the layout of `saved`, the output of `docker save`; see `export_image`."""
    found = _Saved(directory=directory)
    blob_path(directory, sha256(b"")).parent.mkdir(parents=True)
    with tarfile.open(fileobj=cast("IO[bytes]", saved), mode="r|") as tar:
        for member in tar:
            if member.isfile() and (file := tar.extractfile(member)):
                found.take(member.name, cast("io.BufferedReader", file), progress)
    with step("writing the manifest"):
        return _assemble(found, image_id)


@dataclass(kw_only=True)
class _Saved:
    """The part of `docker save`'s output that has been read."""

    directory: Path
    documents: dict[str, bytes] = field(default_factory=dict)  # small JSON files, by name
    layers: dict[str, Descriptor] = field(default_factory=dict)  # by diff ID

    def take(self, name: str, file: io.BufferedReader, progress: Transfer) -> None:
        head = file.peek(2)[:2]
        if head[:1] in {b"{", b"["}:
            self.documents[name] = file.read(_JSON_LIMIT)
        elif not name.endswith(("VERSION", "repositories")):
            self._take_layer(file, progress, packed=head == b"\x1f\x8b")

    def _take_layer(self, file: io.BufferedReader, progress: Transfer, *, packed: bool) -> None:
        # The containerd image store exports layers as they were pulled, often compressed.
        source = cast("Readable", gzip.GzipFile(fileobj=file) if packed else file)
        partial = self.directory / "blobs" / "sha256" / "partial"
        with partial.open("wb") as target:
            made = compress(source, target, progress)
        partial.replace(blob_path(self.directory, made.digest))
        region = region_in(made.first_piece)
        self.layers[made.plain_digest] = Descriptor(
            media_type=MediaType.LAYER,
            digest=made.digest,
            size=made.size,
            annotations={REGION_ANNOTATION: region} if region else {},
        )


def region_in(tar_start: bytes) -> str:
    """Return the region of the binary in a layer, given the start of its tar; "" if none."""
    try:
        with tarfile.open(fileobj=io.BytesIO(tar_start), mode="r:") as tar:
            for member in tar:
                if match := _BINARY.search(member.name):
                    return match["region"]
    except (tarfile.TarError, *MALFORMED):
        pass  # the tar is truncated
    return ""


def _assemble(found: _Saved, image_id: str) -> ImageLayout:
    """Write config, manifest and index; remove layers that the image does not use."""
    config = _config(found.documents, image_id)
    facts = json.loads(config)
    diff_ids = diff_ids_of(facts)
    if missing := [diff_id for diff_id in diff_ids if diff_id not in found.layers]:
        raise NotProvenError(
            f"{len(missing)} layers of {image_id} are missing from the engine's export or differ:"
            f" {', '.join(missing)}"
        )
    layers = tuple(found.layers[diff_id] for diff_id in diff_ids)
    used = {layer.digest for layer in layers}
    for layer in found.layers.values():
        if layer.digest not in used:
            blob_path(found.directory, layer.digest).unlink()
    image = write_image(found.directory, config, layers)
    write_index(found.directory, image.manifest)
    write_marker(found.directory)
    return image


def _config(documents: Mapping[str, bytes], image_id: str) -> bytes:
    """Return the image's config: its digest is the image ID, or the ID's manifest names it."""
    by_digest = {sha256(data): data for data in documents.values()}
    wanted, depth = image_id, 0
    # With the containerd image store the ID is the digest of an index or a manifest.
    while wanted in by_digest and depth <= len(MediaType):
        document = json.loads(by_digest[wanted])
        if member(document, Any, "rootfs"):
            return by_digest[wanted]
        config = member(document, Any, "config")
        below = (config,) if config else member(document, tuple[Any, ...] | None, "manifests")
        digests = [member(entry, str, "digest") for entry in below or ()]
        wanted = next((digest for digest in digests if digest in by_digest), "")
        depth += 1
    raise NotProvenError(
        f"the engine's export is not {image_id}: it contains no config with that digest"
    )


class _Stream(io.RawIOBase):
    """The engine's chunks as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._rest = memoryview(chunk)
        part, self._rest = self._rest[:size], self._rest[size:]
        return bytes(part)


@contextmanager
def removed_unless_complete(directory: Path, *, ours: bool = False) -> Iterator[None]:
    """Create `directory` empty for the block, and remove it if the block fails.

    Raises `UsageError` and removes nothing if the harness did not write its content; see
    `check_replaceable`. The mark `OWN` is in it until the block ends, for runs that are killed.
    """
    replace_directory(directory, ours=ours)
    try:
        yield
        (directory / OWN).unlink(missing_ok=True)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
