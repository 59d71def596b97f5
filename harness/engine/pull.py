"""Find images on the engine, or pull them."""

from collections.abc import Iterable, Mapping
from typing import Any

import docker
from docker.errors import DockerException, ImageNotFound
from docker.models.images import Image
from docker.utils import parse_repository_tag

from harness.core.console import Step, step
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
        return pull_image(client, reference)
    except DockerException as error:
        raise UsageError(
            f"image {reference} is not on the engine and cannot be pulled. Build it with"
            " `harness build VERSION`, or check the name."
        ) from error


def pull_image(
    client: docker.DockerClient,
    reference: str,
    *,
    platform: str | None = None,
    auth_config: Mapping[str, str] | None = None,
) -> Image:
    """Pull image `reference`, by tag or digest, and show the progress in bytes.

    `auth_config` has `username` and `password`. Raises `DockerException` with the reason.
    """
    repository, tag = parse_repository_tag(reference)
    tag = tag or "latest"
    with step(f"pulling {reference}") as progress:
        messages = client.api.pull(
            repository,
            tag=tag,
            stream=True,
            decode=True,
            platform=platform,
            auth_config=dict(auth_config) if auth_config else None,
        )
        _follow(messages, progress)
    separator = "@" if tag.startswith("sha256:") else ":"
    return client.images.get(f"{repository}{separator}{tag}")


def _follow(messages: Iterable[Mapping[str, Any]], progress: Step) -> None:
    """Show the bytes of all layers; the total grows while the engine announces layers."""
    done: dict[str, int] = {}
    total: dict[str, int] = {}
    for message in messages:
        if "error" in message:
            raise DockerException(str(message["error"]))
        layer, status = str(message.get("id", "")), message.get("status", "")
        if status == "Downloading":
            amount = message.get("progressDetail") or {}
            done[layer] = int(amount.get("current") or 0)
            total[layer] = max(int(amount.get("total") or 0), done[layer])
        elif status == "Download complete" and layer in total:
            done[layer] = total[layer]
        else:
            continue
        progress.transferred(sum(done.values()), sum(total.values()))
