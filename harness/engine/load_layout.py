"""Load images from OCI layouts into an engine or a node."""

import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import docker
import requests
from docker.auth import resolve_repository_name
from docker.errors import DockerException
from docker.models.images import Image

from harness.core.errors import EnvironmentMissingError
from harness.engine.import_image import add_file
from harness.oci import ImageLayout, canonical_json
from harness.oci.layout import MARKER, MARKER_CONTENT, index_of

_NAME = "io.containerd.image.name"
"""https://github.com/containerd/containerd/blob/main/core/images/annotations.go"""


@contextmanager
def loaded(client: docker.DockerClient, image: ImageLayout, reference: str) -> Iterator[Image]:
    """The image `reference`, loaded from its layout for the duration of the block.

    Its name is removed after the block, and with it the content that no other image uses. Raises
    `EnvironmentMissingError` if the engine does not accept it.
    """
    try:
        try:
            with tempfile.TemporaryFile() as archive:
                with tarfile.open(fileobj=archive, mode="w") as tar:
                    write_archive(tar, {reference: image})
                archive.seek(0)
                client.images.load(archive)
            found = client.images.get(reference)
        except (DockerException, requests.RequestException, OSError) as error:
            raise EnvironmentMissingError(
                f"the engine cannot load {reference}: {error}. Check its log and its free disk"
                " space."
            ) from error
        yield found
    finally:
        with suppress(DockerException, requests.RequestException):
            client.images.remove(reference)


def write_archive(tar: tarfile.TarFile, images: Mapping[str, ImageLayout]) -> None:
    """Write `images`, by reference, as an OCI layout that is also an archive of `docker save`.

    Engines with graph drivers read the second; those with the containerd image store, and
    containerd itself, read the first, so that an image keeps its digest.
    https://github.com/moby/docker-image-spec/blob/main/spec.md
    """
    path = "blobs/sha256/{}".format
    entries, combined = [], []
    blobs: dict[str, Path] = {}
    for reference, image in images.items():
        entries.append(replace(image.manifest, annotations={_NAME: _full_name(reference)}))
        combined.append(
            {
                "Config": path(image.config.digest[7:]),
                "RepoTags": [reference],
                "Layers": [path(layer.digest[7:]) for layer in image.layers],
            }
        )
        blobs |= {blob.digest: image.path(blob) for blob in (*image.blobs, image.manifest)}
    for file, data in (
        (MARKER, canonical_json(MARKER_CONTENT)),
        ("index.json", index_of(*entries)),
        ("manifest.json", canonical_json(combined)),
    ):
        add_file(tar, file, data)
    for digest, source in blobs.items():
        tar.add(source, path(digest[7:]))


def _full_name(reference: str) -> str:
    """Return `reference` with its host, and with `library/` for an official name of Docker Hub."""
    host, path = resolve_repository_name(reference)
    library = "library/" if host == "docker.io" and "/" not in path else ""
    return f"{host}/{library}{path}"
