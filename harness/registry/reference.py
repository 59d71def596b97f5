"""Names of registries, repositories and tags.

https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#pulling-manifests
"""

import ipaddress
import re
from dataclasses import dataclass

from harness.core.errors import UsageError

_MAX_PORT = 65535
_NAME = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_LABEL = r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_HOST = re.compile(
    rf"({_LABEL}(\.{_LABEL})*|\[(?P<ipv6>[0-9a-fA-F:]+)\])(:(?P<port>[0-9]{{1,5}}))?"
)


@dataclass(frozen=True, kw_only=True)
class Repository:
    """One repository of a registry."""

    host: str  # "ghcr.io", "127.0.0.1:5000"
    name: str  # "owner/finfocus-plugin-aws-public"
    scheme: str = "https"

    @classmethod
    def from_names(cls, registry: str, name: str) -> "Repository":
        """Parse the repository `name` at `registry`, a host with optional scheme and port.

        Raises `UsageError` for invalid names, and for HTTP without TLS to another machine.
        """
        scheme, separator, host = registry.rpartition("://")
        if not _is_host(host) or (separator and scheme not in {"http", "https"}):
            raise UsageError(f"{registry!r} is not a registry: use a host such as ghcr.io")
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} is not a repository: use lower case, such as owner/image"
                " (distribution-spec)"
            )
        repository = cls(host=host, name=name, scheme=scheme or "https")
        if repository.scheme == "http" and not repository.on_loopback:
            raise UsageError(f"passwords for {host} would be sent without TLS: use https://{host}")
        return repository

    @property
    def on_loopback(self) -> bool:
        """Whether the registry runs on this machine."""
        return is_loopback(self.host)

    @property
    def url(self) -> str:
        """URL of this repository in the registry's API."""
        return f"{self.scheme}://{self.host}/v2/{self.name}"

    def at(self, reference: str) -> str:
        """Return the reference to pull a tag or digest."""
        return f"{self}{'@' if ':' in reference else ':'}{reference}"

    def __str__(self) -> str:
        return f"{self.host}/{self.name}"


def _is_host(host: str) -> bool:
    match = _HOST.fullmatch(host)
    if match is None or not 0 < int(match["port"] or 1) <= _MAX_PORT:
        return False
    try:
        return match["ipv6"] is None or bool(ipaddress.IPv6Address(match["ipv6"]))
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Return whether `host`, with or without port, is this machine."""
    bare = re.sub(r":[0-9]+$", "", host).strip("[]")
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return bare == "localhost"


def check_tag(tag: str) -> str:
    """Return `tag` if it is valid; raise `UsageError` otherwise."""
    if not _TAG.fullmatch(tag):
        raise UsageError(f"{tag!r} cannot be a tag: use letters, digits, '.', '_' and '-' only")
    return tag
