"""Load an image from an OCI layout into an engine."""

import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import docker
import requests
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
                    _write(tar, image, reference)
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


def _write(tar: tarfile.TarFile, image: ImageLayout, reference: str) -> None:
    """Write `image` as an OCI layout that is also an archive of `docker save`.

    Engines with graph drivers read the second, those with the containerd image store the first,
    so that the image keeps its digest. https://github.com/moby/docker-image-spec/blob/main/spec.md
    """
    name = reference if "/" in reference else f"docker.io/library/{reference}"
    top = replace(image.manifest, annotations={_NAME: name})
    path = "blobs/sha256/{}".format
    combined = {
        "Config": path(image.config.digest[7:]),
        "RepoTags": [reference],
        "Layers": [path(layer.digest[7:]) for layer in image.layers],
    }
    for file, data in (
        (MARKER, canonical_json(MARKER_CONTENT)),
        ("index.json", index_of(top)),
        ("manifest.json", canonical_json([combined])),
    ):
        add_file(tar, file, data)
    for blob in (*image.blobs, image.manifest):
        tar.add(image.path(blob), path(blob.digest[7:]))
