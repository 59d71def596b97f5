"""Find the base image: the real one, or a labelled stand-in."""

import docker
from docker.errors import DockerException, ImageNotFound
from docker.models.images import Image

from harness.core.errors import EnvironmentMissingError
from harness.core.labels import STAND_IN
from harness.core.proof import StandIn
from harness.core.settings import default_base
from harness.core.stages import Architecture, BaseImage, StandInPolicy
from harness.engine.pull import pull_image
from harness.stand_ins.base_image import make_base_image

_STAND_INS = "finfocus-standin/"


def name_and_version(reference: str) -> str:
    """The name and tag of an image, without registry and digest: "alpine:3.19"."""
    return reference.partition("@")[0].rpartition("/")[2]


def find_base_image(
    client: docker.DockerClient,
    reference: str,
    architecture: Architecture,
    policy: StandInPolicy,
) -> BaseImage:
    """Provide the base image for a build on the engine.

    Raises `EnvironmentMissingError` if it cannot be pulled and `policy` or the machine rules out
    a stand-in.
    """
    why = "requested by --stand-ins always"
    if policy is not StandInPolicy.ALWAYS:
        try:
            return _facts(reference, _real(client, reference, architecture))
        except DockerException as error:
            why = f"pull failed: {_short(error)}"
        if policy is StandInPolicy.NEVER:
            raise EnvironmentMissingError(
                f"no base image {reference}: {why}. Pull or load it, or allow a stand-in with"
                " --stand-ins auto."
            )
    name = f"{_STAND_INS}{name_and_version(default_base())}-{architecture}"
    stand_in = StandIn(kind="base image", replaces=reference, why=why)
    return _facts(name, make_base_image(client, name, architecture), stand_in)


def _real(client: docker.DockerClient, reference: str, architecture: Architecture) -> Image:
    try:
        image = client.images.get(reference)
        if image.attrs["Architecture"] == architecture.value and STAND_IN not in image.labels:
            return image
    except ImageNotFound:
        pass
    return pull_image(client, reference, platform=f"linux/{architecture.value}")


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
    """The reason at the end of the engine's message, without the request around it."""
    text = " ".join(str(getattr(error, "explanation", "") or error).split())
    return (text.rpartition(": ")[2] if "dial tcp" in text else text)[:160]
