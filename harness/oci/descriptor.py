"""Descriptors: media type, digest and size of a piece of content.

https://github.com/opencontainers/image-spec/blob/v1.1.0/descriptor.md
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from harness.core.decode import member

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class MediaType(StrEnum):
    """The media types used in a release."""

    INDEX = "application/vnd.oci.image.index.v1+json"
    MANIFEST = "application/vnd.oci.image.manifest.v1+json"
    CONFIG = "application/vnd.oci.image.config.v1+json"
    LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
    EMPTY = "application/vnd.oci.empty.v1+json"


def sha256(data: bytes) -> str:
    """Return the digest of `data` in registry notation."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def canonical_json(value: Any) -> bytes:
    """Encode `value` as canonical JSON, so that equal content has an equal digest."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


@dataclass(frozen=True, kw_only=True)
class Platform:
    """The platform that an image runs on."""

    architecture: str
    os: str = "linux"

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}"


@dataclass(frozen=True, kw_only=True)
class Descriptor:
    """A piece of content: its media type, digest and size in bytes."""

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: Platform | None = None
    artifact_type: str = ""

    def __post_init__(self) -> None:
        if not _DIGEST.fullmatch(self.digest):
            raise ValueError(f"{self.digest[:100]!r} is not a SHA-256 digest")
        if self.size < 0:
            raise ValueError(f"{self.digest} cannot have {self.size} bytes")

    @classmethod
    def of(cls, data: bytes, media_type: str, **more: Any) -> "Descriptor":
        """Return the descriptor of `data`."""
        return cls(media_type=media_type, digest=sha256(data), size=len(data), **more)

    def to_json_dict(self) -> dict[str, Any]:
        """Return the form used in manifests and indexes, without empty fields."""
        plain: dict[str, Any] = {
            "mediaType": str(self.media_type),
            "digest": self.digest,
            "size": self.size,
        }
        if self.annotations:
            plain["annotations"] = dict(self.annotations)
        if self.platform:
            plain["platform"] = vars(self.platform).copy()
        if self.artifact_type:
            plain["artifactType"] = self.artifact_type
        return plain

    @classmethod
    def from_json_dict(cls, data: Any) -> "Descriptor":
        """Parse a descriptor of a manifest or index; raise `ValueError` if it is invalid."""
        try:
            json.dumps(data, ensure_ascii=False).encode()  # raises for a lone surrogate
            platform = member(data, Mapping[str, Any] | None, "platform")
            return cls(
                media_type=member(data, str, "mediaType"),
                digest=member(data, str, "digest"),
                size=member(data, int, "size"),
                annotations=member(data, Mapping[str, str] | None, "annotations") or {},
                platform=Platform(
                    architecture=member(platform, str, "architecture"),
                    os=member(platform, str, "os"),
                )
                if platform
                else None,
                artifact_type=member(data, str | None, "artifactType") or "",
            )
        except ValueError as error:
            raise ValueError(f"not a descriptor ({error}): {str(data)[:200]}") from error
