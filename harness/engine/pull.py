"""Find images on the engine, or pull them."""

import docker
from docker.errors import DockerException, ImageNotFound
from docker.models.images import Image

from harness.core.errors import UsageError


def find_image(client: docker.DockerClient, reference: str) -> Image:
    """Image `reference`, pulled if it is not on the engine; `UsageError` if unavailable."""
    try:
        return client.images.get(reference)
    except ImageNotFound:
        pass
    except DockerException as error:
        raise UsageError(f"{reference!r} is not an image reference: {error}") from error
    try:
        return client.images.pull(reference)
    except DockerException as error:
        raise UsageError(
            f"image {reference} is not on the engine and cannot be pulled. Build it with"
            " `harness build VERSION`, or check the name."
        ) from error
