"""Find the layers that an image shares with its base image."""

import docker
from docker.errors import DockerException
from docker.models.images import Image

from harness.core.labels import BASE_NAME


def base_layers(client: docker.DockerClient, image: Image) -> tuple[str, ...]:
    """Return the digests (uncompressed) of the base image's layers in `image`, lowest first.

    The base image is the one named in the image's label (OCI image spec, annotations), if the
    engine has it and the image starts with its layers; otherwise the lowest layer is the base.
    """
    layers = [str(digest) for digest in image.attrs["RootFS"].get("Layers") or ()]
    labels = (image.attrs.get("Config") or {}).get("Labels") or {}
    if name := labels.get(BASE_NAME):
        try:
            base = [str(d) for d in client.images.get(name).attrs["RootFS"].get("Layers") or ()]
        except DockerException:
            base = []
        if base and layers[: len(base)] == base:
            return tuple(base)
    return tuple(layers[:1])
