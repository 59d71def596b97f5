"""Tells which layers of an image are its base's."""

import docker
from docker.errors import DockerException
from docker.models.images import Image

BASE_NAME = "org.opencontainers.image.base.name"


def base_layers(client: docker.DockerClient, image: Image) -> tuple[str, ...]:
    """Digests (uncompressed) of the layers that `image` has from its base, the lowest first.

    The base is the one that the image's label names (OCI image spec, annotations), when it is on
    the engine and the image really begins with it; else the lowest layer counts as the base.
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
