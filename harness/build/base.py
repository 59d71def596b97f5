"""Finds the base image: the real one, or a stand-in that says so."""

import docker
from docker.errors import DockerException, ImageNotFound
from docker.models.images import Image

from harness.core.console import step
from harness.core.errors import EnvironmentMissingError
from harness.core.labels import STAND_IN
from harness.core.proof import StandIn
from harness.core.stages import Architecture, BaseImage, StandInPolicy
from harness.stand_ins.base_image import make_base_image

DEFAULT_BASE = "alpine:3.19"
STAND_IN_REFERENCE = "finfocus-standin/alpine:3.19"


def find_base_image(
    client: docker.DockerClient,
    reference: str,
    architecture: Architecture,
    policy: StandInPolicy,
) -> BaseImage:
    """The base image for a build, present on the engine when this returns.

    Raises `EnvironmentMissingError` when it cannot be pulled and `policy` or the machine allows
    no stand-in.
    """
    why = "asked for by --stand-ins always"
    if policy is not StandInPolicy.ALWAYS:
        try:
            return _facts(reference, _real(client, reference, architecture))
        except DockerException as error:
            why = f"it cannot be pulled ({_short(error)})"
        if policy is StandInPolicy.NEVER:
            raise EnvironmentMissingError(
                f"{reference} is not here and {why}: pull or load it, or let a stand-in take its"
                " place with --stand-ins auto"
            )
    name = f"{STAND_IN_REFERENCE}-{architecture}"
    stand_in = StandIn(kind="base image", replaces=reference, why=why)
    return _facts(name, make_base_image(client, name, architecture), stand_in)


def _real(client: docker.DockerClient, reference: str, architecture: Architecture) -> Image:
    try:
        image = client.images.get(reference)
        if image.attrs["Architecture"] == architecture.value and STAND_IN not in image.labels:
            return image
    except ImageNotFound:
        pass
    with step(f"pulling {reference}"):
        return client.images.pull(reference, platform=f"linux/{architecture.value}")


def _facts(reference: str, image: Image, stand_in: StandIn | None = None) -> BaseImage:
    digests = image.attrs.get("RepoDigests") or []
    return BaseImage(
        reference=reference,
        image_id=image.id or "",
        digest=digests[0].partition("@")[2] if digests else "",
        size_bytes=int(image.attrs["Size"]),
        stand_in=stand_in,
    )


def _short(error: Exception) -> str:
    """The reason at the end of the engine's words, without the request it wraps around it."""
    text = " ".join(str(getattr(error, "explanation", "") or error).split())
    return (text.rpartition(": ")[2] if "dial tcp" in text else text)[:160]
