"""Pull what a release has pushed, by digest."""

import docker
from docker.errors import DockerException
from docker.models.images import Image

from harness.core.errors import RegistryError
from harness.engine.pull import pull_image
from harness.registry import Credentials


def pull_published(
    client: docker.DockerClient,
    name: str,
    credentials: Credentials | None,
    *,
    platform: str | None = None,
) -> Image:
    """Pull the image `name`, by digest; raise `RegistryError` if the engine cannot."""
    login = None
    if credentials and not credentials.identity_token:
        login = {"username": credentials.username, "password": credentials.secret.reveal()}
    try:
        return pull_image(client, name, platform=platform, auth_config=login)
    except DockerException as error:
        words = " ".join(str(getattr(error, "explanation", "") or error).split())
        raise RegistryError(f"the engine cannot pull {name}: {words[:300]}") from None
