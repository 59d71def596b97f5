"""Which tags a release moves (FR-011), by Semantic Versioning 2.0.0 (https://semver.org)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from semver import Version

from harness.core.errors import TagConflictError, UsageError
from harness.registry.reference import check_tag

LATEST = "latest"


@dataclass(frozen=True, kw_only=True)
class TagMove:
    """A tag and what it names before."""

    tag: str
    before: str | None  # digest; None when the tag is new


@dataclass(frozen=True, kw_only=True)
class TagPlan:
    """What moves, in this order, and what stays and why."""

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
    """The tags for the index `digest` of `version`: the version's own first, `latest` last.

    `existing` are the registry's tags and `current` tells the digest of one. `latest` is by policy
    when None: a prerelease and a backport never move it. `floating` adds v1.2 and v1. Raises
    `TagConflictError` when the version's tag has other content, and `UsageError` when `latest` is
    asked for against the policy.
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
            stays.append((tag, "asked for by --no-latest"))
        else:
            moves.append(TagMove(tag=tag, before=current(tag)))
    if latest and LATEST not in {move.tag for move in moves}:
        raise UsageError(f"latest does not move to {version}: {dict(stays)[LATEST]}; drop --latest")
    return TagPlan(moves=tuple(moves), stays=tuple(stays))


def check_version_tag(
    version: str, digest: str, current: Callable[[str], str | None]
) -> str | None:
    """What the version's tag names; `TagConflictError` when that is another than `digest`."""
    before = current(version)
    if before not in {None, digest}:
        raise TagConflictError(
            f"{version} is published already with other content ({before}, this is {digest}):"
            " a version never changes; release a new one"
        )
    return before


def parse(version: str) -> Version:
    """A version such as "v1.2.3-rc.1"; `UsageError` when a registry cannot order or tag it."""
    found = released(version)
    if found is None:
        raise UsageError(f"{version!r} cannot be released: give a semantic version like v0.1.5")
    if found.build:
        raise UsageError(f"{version!r} cannot be a tag: a tag has no '+'; drop +{found.build}")
    return found


def released(tag: str) -> Version | None:
    """The version that `tag` names; None for any other tag."""
    number = tag.removeprefix("v")
    return Version.parse(number) if tag != number and Version.is_valid(number) else None


def previous(version: str, existing: Iterable[str]) -> str | None:
    """The newest release before `version`, without prereleases."""
    ours = parse(version)
    found = [v for tag in existing if (v := released(tag)) and not v.prerelease and v < ours]
    return f"v{max(found)}" if found else None


def _wanted(ours: Version, *, floating: bool) -> list[tuple[str, Callable[[Version], bool]]]:
    """Moving tags with the versions that compete for each, `latest` last."""
    wanted: list[tuple[str, Callable[[Version], bool]]] = []
    if floating:
        line = (ours.major, ours.minor)
        wanted.append((f"v{ours.major}.{ours.minor}", lambda v: (v.major, v.minor) == line))
        # Major version zero promises nothing (semver.org, 4): no v0.
        if ours.major:
            wanted.append((f"v{ours.major}", lambda v: v.major == ours.major))
    return [*wanted, (LATEST, lambda _: True)]
