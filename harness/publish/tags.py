"""Plan the tags of a release (FR-011: `latest` and the version), by https://semver.org 2.0.0."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from semver import Version

from harness.core.errors import TagConflictError, UsageError
from harness.registry.reference import check_tag

LATEST = "latest"


@dataclass(frozen=True, kw_only=True)
class TagMove:
    """A tag to set, and its current target."""

    tag: str
    before: str | None  # digest; None when the tag is new


@dataclass(frozen=True, kw_only=True)
class TagPlan:
    """The tags that move, in order, and those that do not, with the reason."""

    moves: tuple[TagMove, ...]
    stays: tuple[tuple[str, str], ...] = ()


def plan_tags(
    version: str,
    digest: str,
    existing: Iterable[str],
    current: Callable[[str], str | None],
    *,
    latest: bool | None = None,
    floating: bool = False,
) -> TagPlan:
    """Plan the tags for the index `digest` of `version`: the version first, `latest` last.

    `existing` are the registry's tags; `current` returns the digest of a tag. If `latest` is None,
    the policy applies: prereleases and backports do not move it. `floating` adds v1.2 and v1.
    Raises `TagConflictError` if the version's tag has different content, and `UsageError` if
    `latest` is requested against the policy.
    """
    ours = parse(version)
    stable = [found for tag in existing if (found := released(tag)) and not found.prerelease]
    moves = [TagMove(tag=check_tag(version), before=check_version_tag(version, digest, current))]
    stays: list[tuple[str, str]] = []
    for tag, family in _wanted(ours, floating=floating):
        newer = [found for found in stable if found > ours and family(found)]
        if ours.prerelease:
            stays.append((tag, f"{version} is a prerelease"))
        elif newer:
            stays.append((tag, f"v{max(newer)} is newer"))
        elif tag == LATEST and latest is False:
            stays.append((tag, "--no-latest was given"))
        else:
            moves.append(TagMove(tag=tag, before=current(tag)))
    if latest and LATEST not in {move.tag for move in moves}:
        raise UsageError(f"cannot move latest to {version}: {dict(stays)[LATEST]}; remove --latest")
    return TagPlan(moves=tuple(moves), stays=tuple(stays))


def check_version_tag(
    version: str, digest: str, current: Callable[[str], str | None]
) -> str | None:
    """Return the digest of the version's tag; raise `TagConflictError` if it differs."""
    before = current(version)
    if before not in {None, digest}:
        raise TagConflictError(
            f"{version} is already published with different content ({before}, this is {digest}):"
            " a published version never changes; release a new version"
        )
    return before


def parse(version: str) -> Version:
    """Parse a version such as "v1.2.3-rc.1"; raise `UsageError` if it cannot be a tag."""
    found = released(version)
    if found is None:
        raise UsageError(f"cannot release {version!r}: use a semantic version such as v0.1.5")
    if found.build:
        raise UsageError(
            f"{version!r} cannot be a tag: tags cannot contain '+'; remove +{found.build}"
        )
    return found


def released(tag: str) -> Version | None:
    """Return the version in `tag`; None for any other tag."""
    number = tag.removeprefix("v")
    return Version.parse(number) if tag != number and Version.is_valid(number) else None


def previous(version: str, existing: Iterable[str]) -> str | None:
    """Return the newest release before `version`, ignoring prereleases."""
    ours = parse(version)
    found = [v for tag in existing if (v := released(tag)) and not v.prerelease and v < ours]
    return f"v{max(found)}" if found else None


def _wanted(ours: Version, *, floating: bool) -> list[tuple[str, Callable[[Version], bool]]]:
    """Return the moving tags, each with a test for competing versions, `latest` last."""
    wanted: list[tuple[str, Callable[[Version], bool]]] = []
    if floating:
        line = (ours.major, ours.minor)
        wanted.append((f"v{ours.major}.{ours.minor}", lambda v: (v.major, v.minor) == line))
        # Major version zero has no stable API (semver.org, 4), so there is no v0.
        if ours.major:
            wanted.append((f"v{ours.major}", lambda v: v.major == ours.major))
    return [*wanted, (LATEST, lambda _: True)]
