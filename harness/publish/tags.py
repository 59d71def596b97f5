"""Plan the tags of a release (FR-011: `latest` and the version), by https://semver.org 2.0.0.

A rebuilt image of the same version is a revision: v1.2.3-r1, v1.2.3-r2. For semver that would be a
prerelease, which comes before v1.2.3; here a revision comes after it, and before v1.2.4.

The image of a region has each of these tags with the region's name appended: v1.2.3-us-east-1.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from semver import Version

from harness.core.errors import TagConflictError, UsageError
from harness.core.regions import REGION_NAME
from harness.registry.reference import check_tag

LATEST = "latest"
# Not only the regions of today's table: the tags of a region that was removed from it stay.
_OF_REGION = re.compile(rf".+-{REGION_NAME}")
_REVISION = re.compile(r"(?P<version>.+)-r(?P<number>[1-9][0-9]*)")


@dataclass(frozen=True, order=True)
class ImageVersion:
    """A version of the plugin and the revision of its image, in the order of release."""

    version: Version
    revision: int = 0  # 0 for the first image of the version

    @property
    def tag(self) -> str:
        """The tag that never moves, such as "v1.2.3" or "v1.2.3-r1"."""
        return f"v{self.version}" + (f"-r{self.revision}" if self.revision else "")


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
    owners: tuple[tuple[str, str], ...] = ()  # tags that stay, and the newer release's tag


def plan_tags(
    version: str,
    digest: str,
    existing: Iterable[str],
    current: Callable[[str], str | None],
    *,
    latest: bool | None = None,
    floating: bool = False,
    revision: int = 0,
) -> TagPlan:
    """Plan the tags for the index `digest` of `version`: the version first, `latest` last.

    `existing` are the registry's tags; `current` returns the digest of a tag. If `latest` is None,
    the policy applies: prereleases and backports do not move it. `floating` adds v1.2 and v1. With
    a `revision` the version's own tag is v1.2.3-r1 instead of v1.2.3.
    Raises `TagConflictError` if that tag has different content, and `UsageError` if the revision
    is not the next one, or `latest` is requested against the policy.
    """
    ours = ImageVersion(parse(version), revision)
    found = [image for tag in existing if (image := released(tag))]
    moves = [TagMove(tag=check_tag(ours.tag), before=check_version_tag(ours.tag, digest, current))]
    if moves[0].before is None:
        _check_next(ours, found)
    stays: list[tuple[str, str]] = []
    owners: list[tuple[str, str]] = []
    for tag, family in _wanted(ours.version, floating=floating):
        newer = [v for v in found if not v.version.prerelease and v > ours and family(v.version)]
        if ours.version.prerelease:
            stays.append((tag, f"{ours.tag} is a prerelease"))
        elif newer:
            stays.append((tag, f"{max(newer).tag} is newer"))
            owners.append((tag, max(newer).tag))
        elif tag == LATEST and latest is False:
            stays.append((tag, "--no-latest was given"))
        else:
            moves.append(TagMove(tag=tag, before=current(tag)))
    if latest and LATEST not in {move.tag for move in moves}:
        raise UsageError(
            f"cannot move latest to {ours.tag}: {dict(stays)[LATEST]}; remove --latest"
        )
    return TagPlan(moves=tuple(moves), stays=tuple(stays), owners=tuple(owners))


def check_version_tag(tag: str, digest: str, current: Callable[[str], str | None]) -> str | None:
    """Return the digest of the version's tag; raise `TagConflictError` if it differs."""
    before = current(tag)
    if before not in {None, digest}:
        raise TagConflictError(
            f"{tag} is already published with different content ({before}, this is {digest}):"
            " a published version never changes; publish a rebuilt image with --revision, or"
            " release a new version"
        )
    return before


def _check_next(ours: ImageVersion, existing: Iterable[ImageVersion]) -> None:
    """Raise `UsageError` if `ours`, which is new, would leave a gap or come late."""
    there = [image.revision for image in existing if image.version == ours.version]
    expected = max(there, default=-1) + 1
    if ours.revision > 0 and not there:
        raise UsageError(f"v{ours.version} is not published: release it without --revision first")
    if ours.revision != expected and there:
        newest = ImageVersion(ours.version, expected - 1).tag
        raise UsageError(f"the newest image of v{ours.version} is {newest}: --revision {expected}")


def parse(version: str) -> Version:
    """Parse a version such as "v1.2.3-rc.1"; raise `UsageError` if it cannot be a tag."""
    if _OF_REGION.fullmatch(version):
        raise UsageError(
            f"cannot release {version!r}: it ends like the tag of a region's image. Release the"
            " version without the region; every region's image is published with it."
        )
    found = released(version)
    if found is None:
        raise UsageError(f"cannot release {version!r}: use a semantic version such as v0.1.5")
    if found.revision:
        raise UsageError(
            f"{version} names a revision: use v{found.version} --revision {found.revision}"
        )
    if found.version.build:
        raise UsageError(
            f"{version!r} cannot be a tag: tags cannot contain '+'; remove +{found.version.build}"
        )
    return found.version


def of_region(tag: str, region: str) -> str:
    """Return the tag of the image of `region` that goes with `tag`."""
    return check_tag(f"{tag}-{region}")


def moves_of_region(
    region: str,
    moves: Iterable[TagMove],
    version: str,
    digest: str,
    current: Callable[[str], str | None],
) -> tuple[TagMove, ...]:
    """Plan the tags of the image of `region` that go with `moves`, for its index `digest`.

    Only their current targets are requested. Raises `TagConflictError` if the tag that goes with
    `version`, the version's own tag, has different content.
    """
    tags = [(move.tag, of_region(move.tag, region)) for move in moves]
    return tuple(
        TagMove(
            tag=tag,
            before=check_version_tag(tag, digest, current) if whole == version else current(tag),
        )
        for whole, tag in tags
    )


def released(tag: str) -> ImageVersion | None:
    """Return the version and revision in `tag`; None for another tag, also that of a region."""
    if _OF_REGION.fullmatch(tag):
        return None
    number = tag.removeprefix("v")
    match = _REVISION.fullmatch(number)
    version, revision = (match["version"], int(match["number"])) if match else (number, 0)
    if tag == number or not Version.is_valid(version):
        return None
    return ImageVersion(Version.parse(version), revision)


def previous(version: str, existing: Iterable[str], revision: int = 0) -> str | None:
    """Return the tag of the newest image before this one, ignoring prereleases."""
    ours = ImageVersion(parse(version), revision)
    found = [image for image in _stable(existing) if image < ours]
    return max(found).tag if found else None


def supported(existing: Iterable[str]) -> tuple[str, ...]:
    """Return the tags that get fixes: the newest version, its revisions, and `latest`."""
    tags = tuple(existing)
    found = sorted(_stable(tags))
    images = [image.tag for image in found if image.version == found[-1].version]
    return (*images, *(tag for tag in tags if tag == LATEST))


def _stable(existing: Iterable[str]) -> list[ImageVersion]:
    found = (released(tag) for tag in existing)
    return [image for image in found if image and not image.version.prerelease]


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
