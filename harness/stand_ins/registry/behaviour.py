"""How registries that people use differ from the specification and from each other."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Profile(StrEnum):
    """A registry that can run here, by the name that users know."""

    GHCR = "ghcr"  # a front that behaves like ghcr.io, before Debian's registry
    DOCKER = "docker-registry-2.8"  # Debian's
    DISTRIBUTION = "distribution-3"  # compiled from its Go module


ZOT = "zot"
"""The only one here with a referrers API; imitated in tests."""


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """What a client has to cope with; the default is a registry without surprises."""

    referrers: str = "missing"  # "api", "missing" (404) or "web page" (a redirect to one)
    lag: int = 0  # reads of what was just written that do not see it yet
    most_ranged: int = 1 << 62  # bytes of a PATCH with Content-Range
    bare_every: int = 0  # each n-th answer lacks Docker-Content-Digest
    busy_every: int = 0  # each n-th request is answered with 429 and Retry-After
    token_requests: int = 1 << 62  # that one token is good for
    token_seconds: float = 300
    checks_parts: bool = False  # refuses a manifest whose parts are missing

    def is_busy(self, request: int) -> bool:
        """Return whether the request with this number is answered with 429."""
        return bool(self.busy_every) and request % self.busy_every == 0

    def is_bare(self, answer: int) -> bool:
        """Return whether the answer with this number lacks Docker-Content-Digest."""
        return bool(self.bare_every) and answer % self.bare_every == 0


BEHAVIOURS: Mapping[str, Behaviour] = {
    # What its clients report: no referrers API (https://github.com/oras-project/oras-java/issues/773)
    # and a limit for ranges (https://github.com/oras-project/rust-oci-client/pull/37). The numbers
    # that are not published are chosen so that every release meets them.
    Profile.GHCR: Behaviour(
        referrers="web page",
        lag=1,
        most_ranged=4 << 20,
        bare_every=3,
        busy_every=23,
        token_requests=40,
        token_seconds=15,
        checks_parts=True,
    ),
    Profile.DOCKER: Behaviour(checks_parts=True),
    Profile.DISTRIBUTION: Behaviour(checks_parts=True),
    ZOT: Behaviour(referrers="api", checks_parts=True),
}
