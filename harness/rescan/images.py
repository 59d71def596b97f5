"""The published images that get fixes: of the newest version, its revisions, and `latest`."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import docker
from docker.errors import DockerException, ImageNotFound

from harness.core.decode import member, objects, text
from harness.core.errors import RegistryError
from harness.core.untrusted import MALFORMED
from harness.publish.pull import pull_published
from harness.publish.tags import LATEST, released, supported
from harness.registry import Credentials, RegistryClient, Repository


@dataclass(frozen=True, kw_only=True)
class PublishedImage:
    """One platform's image, and the tags through which users get it."""

    repository: Repository
    digest: str  # of the manifest, "sha256:…"
    platform: str  # "linux/amd64"
    tags: tuple[str, ...]  # oldest first, `latest` last
    newest: bool  # the newest revision, or `latest`

    @property
    def name(self) -> str:
        """The reference to pull."""
        return self.repository.at(self.digest)

    @property
    def title(self) -> str:
        """For people and for file names: "v0.1.6-r1 linux/amd64"."""
        return f"{self.tags[0]} {self.platform}"


def published(client: RegistryClient) -> list[PublishedImage]:
    """Return the supported images in the repository of `client`, each digest once.

    Raises `RegistryError` if a tag disappears or is no image.
    """
    tags: dict[str, list[str]] = {}
    order = supported(client.tags())
    for tag in order:
        digest = client.tag_digest(tag)
        if digest is None:
            raise RegistryError(f"{client.repository.at(tag)} is listed, but not there: try again")
        tags.setdefault(digest, []).append(tag)
    versions = [tag for tag in order if released(tag)]
    current = {LATEST, *versions[-1:]}
    return [
        PublishedImage(
            repository=client.repository,
            digest=manifest,
            platform=platform,
            tags=tuple(names),
            newest=bool(current & set(names)),
        )
        for digest, names in tags.items()
        for platform, manifest in _platforms(client, digest)
    ]


def _platforms(client: RegistryClient, digest: str) -> list[tuple[str, str]]:
    """Platform and digest of each image in the index; attestations have no platform."""
    data = client.manifest(digest)
    try:
        index = json.loads(data or b"")
        member(index, tuple[Any, ...], "manifests")  # an image has none, an index may have 0
        found = [
            (_platform(entry), member(entry, str, "digest"))
            for entry in objects(index, "manifests")
        ]
    except MALFORMED as error:
        raise RegistryError(
            f"{client.repository.at(digest)} is not an index ({error}):"
            " it was not published by this harness"
        ) from None
    return [(platform, manifest) for platform, manifest in found if platform]


def _platform(entry: Mapping[str, Any]) -> str:
    system, architecture = text(entry, "platform", "os"), text(entry, "platform", "architecture")
    return f"{system}/{architecture}" if system == "linux" and architecture else ""


@contextmanager
def pulled(
    client: docker.DockerClient, image: PublishedImage, credentials: Credentials | None
) -> Iterator[str]:
    """Pull `image` and yield its name; remove it afterwards unless the engine had it before.

    Raises `RegistryError` if the engine cannot pull it.
    """
    if _there(client, image):
        yield image.name
        return
    pull_published(client, image.name, credentials, platform=image.platform)
    try:
        yield image.name
    finally:
        with suppress(DockerException):
            client.images.remove(image.name)


def _there(client: docker.DockerClient, image: PublishedImage) -> bool:
    try:
        client.images.get(image.name)
    except ImageNotFound:
        return False
    return True
