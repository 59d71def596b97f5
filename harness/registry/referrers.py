"""Attach artifacts to a manifest: signature, SBOM, provenance, proof.

https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#listing-referrers. For
registries without a referrers API it uses the referrers tag schema, as the specification requires.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote, urlsplit

import requests

from harness.core.decode import member
from harness.core.errors import RegistryError
from harness.core.untrusted import MALFORMED
from harness.oci.descriptor import Descriptor, MediaType, canonical_json, sha256
from harness.registry.client import RegistryClient
from harness.registry.transport import BusyError, join

_OK = requests.codes
_MOVED = {301, 302, 303, 307, 308}
_NO_API = {_OK.bad_request, _OK.not_found, _OK.method_not_allowed, _OK.not_acceptable}
_REDIRECTS = 3
EMPTY = b"{}"


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A file attached to an image."""

    path: Path
    content: Descriptor  # of the file
    artifact_type: str
    subject: Descriptor  # the manifest that it is attached to
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def manifest(self) -> bytes:
        """https://github.com/opencontainers/image-spec/blob/v1.1.0/manifest.md#guidelines-for-artifact-usage."""
        empty = Descriptor.of(EMPTY, MediaType.EMPTY)
        subject = Descriptor(
            media_type=self.subject.media_type, digest=self.subject.digest, size=self.subject.size
        )
        return canonical_json(
            {
                "schemaVersion": 2,
                "mediaType": MediaType.MANIFEST,
                "artifactType": self.artifact_type,
                "config": empty.to_json_dict(),
                "layers": [self.content.to_json_dict()],
                "subject": subject.to_json_dict(),
                "annotations": dict(self.annotations),
            }
        )

    @property
    def descriptor(self) -> Descriptor:
        """The descriptor listed among the referrers of its subject."""
        return Descriptor.of(
            self.manifest,
            MediaType.MANIFEST,
            artifact_type=self.artifact_type,
            annotations=self.annotations,
        )


def attach(client: RegistryClient, artifacts: Sequence[Artifact]) -> None:
    """Push `artifacts` with their files, and list each as a referrer of its subject."""
    with TemporaryDirectory() as directory:
        empty = Path(directory) / "empty"
        empty.write_bytes(EMPTY)
        client.push_blob(Descriptor.of(EMPTY, MediaType.EMPTY), empty)
    for content, path in {a.content.digest: (a.content, a.path) for a in artifacts}.values():
        client.push_blob(content, path)
    unlisted: dict[str, list[Descriptor]] = {}
    for artifact in artifacts:
        answer = client.push_manifest(artifact.manifest, MediaType.MANIFEST)
        if answer.headers.get("OCI-Subject") != artifact.subject.digest:
            unlisted.setdefault(artifact.subject.digest, []).append(artifact.descriptor)
    for subject, descriptors in unlisted.items():
        _list_by_tag(client, subject, descriptors)


def referrers(client: RegistryClient, digest: str) -> tuple[Descriptor, ...]:
    """Return the artifacts attached to the manifest with `digest`."""
    listed = _from_api(client, f"{client.repository.url}/referrers/{quote(digest, safe=':')}")
    if listed is None:
        data = client.manifest(_tag_for(digest))
        listed = _entries(data) if data else []
    return tuple(listed)


def _from_api(client: RegistryClient, url: str) -> list[Descriptor] | None:
    """Return what the referrers API lists; None if the registry has no such API.

    The specification requires 404 then, but registries answer in other ways: ghcr.io redirects to
    a web page, others return 400, 406 or 429.
    """
    host = urlsplit(url)[:2]
    for _ in range(_REDIRECTS):
        try:
            answer = client.transport.request(
                "GET", url, expect={_OK.ok, *_MOVED, *_NO_API}, redirects=False
            )
        except BusyError:
            return None
        if answer.status_code == _OK.ok:
            try:
                return _entries(answer.content)
            except RegistryError:
                return None
        if answer.status_code in _NO_API:
            return None
        url = join(answer.url, answer.headers.get("Location", ""))
        if urlsplit(url)[:2] != host:
            return None
    return None


def _tag_for(digest: str) -> str:
    """https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#referrers-tag-schema."""
    return digest.replace(":", "-")


def _list_by_tag(client: RegistryClient, subject: str, descriptors: Sequence[Descriptor]) -> None:
    tag = _tag_for(subject)
    data = client.manifest(tag)
    there = {entry.digest: entry for entry in (_entries(data) if data else [])}
    listed = {**{descriptor.digest: descriptor for descriptor in descriptors}, **there}
    if len(listed) == len(there):
        return
    listed = {**there, **listed}
    index: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MediaType.INDEX,
        "manifests": [entry.to_json_dict() for entry in listed.values()],
    }
    made = canonical_json(index)
    client.push_manifest(made, MediaType.INDEX, tag)
    # Later artifacts are added to this list, so a registry that lags must show it first.
    client.settle(tag, sha256(made), before=sha256(data) if data else None)


def _entries(data: bytes) -> list[Descriptor]:
    try:
        listed = member(json.loads(data), tuple[Any, ...], "manifests")
        return [Descriptor.from_json_dict(entry) for entry in listed]
    except MALFORMED as error:
        raise RegistryError(f"cannot read the registry's list of referrers: {error}") from None
