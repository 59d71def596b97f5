"""FR-011 (`latest` and version tags): which tags move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from harness.core.errors import TagConflictError, UsageError
from harness.publish.tags import moves_of_region, plan_tags, previous, released, supported

OURS, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def no_tag(_: str) -> str | None:
    return None


def moves(version: str, existing: Sequence[str], **options: Any) -> list[str]:
    names = dict.fromkeys(existing, OTHER)
    plan = plan_tags(version, OURS, names, names.get, **options)
    return [move.tag for move in plan.moves]


@pytest.mark.parametrize(
    ("version", "existing", "expected"),
    [
        pytest.param("v1.2.3", [], ["v1.2.3", "latest"], id="first"),
        pytest.param("v1.2.3", ["v1.2.2", "latest"], ["v1.2.3", "latest"], id="newest"),
        pytest.param("v1.2.3", ["v1.10.0"], ["v1.2.3"], id="backport"),
        pytest.param("v1.2.3-rc.1", [], ["v1.2.3-rc.1"], id="prerelease"),
        pytest.param("v1.2.3", ["v2.0.0-rc.1"], ["v1.2.3", "latest"], id="newer-is-prerelease"),
        pytest.param("v1.2.3", ["nightly", "v9", "sha256-x"], ["v1.2.3", "latest"], id="others"),
        pytest.param("v0.0.0-local", [], ["v0.0.0-local"], id="rehearsal"),
        pytest.param(
            "v1.2.3", ["v1.2.4-us-east-1", "latest-us-east-1"], ["v1.2.3", "latest"], id="regional"
        ),
    ],
)
def test_fr_011_version_first_and_latest_by_policy(
    version: str, existing: list[str], expected: list[str]
) -> None:
    """FR-011: always the version's tag first; `latest` last, and only for the newest release."""
    assert moves(version, existing) == expected


@pytest.mark.parametrize(
    ("version", "existing", "expected"),
    [
        pytest.param("v1.2.3", [], ["v1.2.3", "v1.2", "v1", "latest"], id="first"),
        pytest.param("v1.2.3", ["v1.3.0"], ["v1.2.3", "v1.2"], id="newer-minor"),
        pytest.param("v1.2.3", ["v1.2.4"], ["v1.2.3"], id="newer-patch"),
        pytest.param("v1.2.3", ["v2.0.0"], ["v1.2.3", "v1.2", "v1"], id="newer-major"),
        pytest.param("v0.2.3", [], ["v0.2.3", "v0.2", "latest"], id="zero-promises-nothing"),
        pytest.param("v1.2.3-rc.1", [], ["v1.2.3-rc.1"], id="prerelease"),
    ],
)
def test_floating_tags_follow_their_line(
    version: str, existing: list[str], expected: list[str]
) -> None:
    """v1.2 and v1 move only to the newest release of their line."""
    assert moves(version, existing, floating=True) == expected


def test_latest_can_be_left_alone() -> None:
    """--no-latest leaves `latest` unchanged, and the plan says why."""
    plan = plan_tags("v1.0.0", OURS, [], no_tag, latest=False)
    assert [move.tag for move in plan.moves] == ["v1.0.0"]
    assert plan.stays == (("latest", "--no-latest was given"),)


@pytest.mark.parametrize(
    ("version", "why"), [("v1.0.0-rc.1", "is a prerelease"), ("v1.0.0", "v1.0.1 is newer")]
)
def test_latest_is_not_forced_against_the_policy(version: str, why: str) -> None:
    """--latest for a prerelease or a backport is refused with a reason."""
    with pytest.raises(UsageError, match=why):
        plan_tags(version, OURS, ["v1.0.1"], no_tag, latest=True)


def test_version_never_changes() -> None:
    """The version's tag with different content is refused; with the same content it is accepted."""
    with pytest.raises(
        TagConflictError, match="already published with different content"
    ) as caught:
        plan_tags("v1.0.0", OURS, ["v1.0.0"], {"v1.0.0": OTHER}.get)
    assert caught.value.exit_code == 9
    same = plan_tags("v1.0.0", OURS, ["v1.0.0"], {"v1.0.0": OURS}.get)
    assert same.moves[0].before == OURS


@pytest.mark.parametrize("version", ["v1.2", "1.2.3", "latest", "v1.2.3+build"])
def test_what_cannot_be_ordered_is_refused(version: str) -> None:
    """Only semantic versions that are valid tags are released."""
    with pytest.raises(UsageError):
        plan_tags(version, OURS, [], no_tag)


@pytest.mark.parametrize(
    "tag",
    [
        "v1.2.3-us-east-1",
        "v1.2.3-rc.1-us-gov-west-1",
        "v1.2.3-r1-us-east-1",
        "v1.2-eu-west-1",
        "latest-us-east-1",
        "v1.2.3-xx-of-a-later-table-9",
    ],
)
def test_tag_of_a_region_is_no_version(tag: str) -> None:
    """By semver.org v1.2.3-us-east-1 is a prerelease: it must be neither listed nor released."""
    assert released(tag) is None
    assert previous("v9.0.0", [tag]) is None
    with pytest.raises(UsageError, match="ends like the tag of a region's image"):
        plan_tags(tag, OURS, [], no_tag)


def test_tags_of_a_region_follow_those_of_the_whole_image() -> None:
    """Version, floating tags and `latest` move together, and the version's never changes."""
    plan = plan_tags("v1.2.3", OURS, [], no_tag, floating=True)
    named = ("us-east-1", plan.moves, "v1.2.3", OURS)
    assert [m.tag for m in moves_of_region(*named, no_tag)] == [
        f"{m.tag}-us-east-1" for m in plan.moves
    ]
    there = {"v1.2.3-us-east-1": OURS, "latest-us-east-1": OTHER}
    moved = moves_of_region(*named, there.get)
    assert (moved[0].before, moved[-1].before) == (OURS, OTHER)
    with pytest.raises(TagConflictError, match=r"v1\.2\.3-us-east-1 is already published"):
        moves_of_region(*named, {"v1.2.3-us-east-1": OTHER}.get)


def test_only_the_tags_of_a_region_that_are_set_are_requested() -> None:
    """Each request costs a release time, and the moving tags are planned after the version's."""
    plan = plan_tags("v1.2.3", OURS, [], no_tag, floating=True)
    for moves in (plan.moves[:1], plan.moves[1:]):
        asked: list[str] = []
        moves_of_region("us-east-1", moves, "v1.2.3", OURS, asked.append)
        assert asked == [f"{move.tag}-us-east-1" for move in moves]


def test_previous_release_is_found() -> None:
    """The newest earlier release, in version order."""
    tags = ["v1.2.0", "v1.10.0", "v1.9.0", "v2.0.0", "v1.11.0-rc.1", "latest"]
    assert previous("v1.12.0", tags) == "v1.10.0"
    assert previous("v1.0.0", tags) is None


@pytest.mark.parametrize(
    ("revision", "existing", "expected"),
    [
        pytest.param(1, ["v1.2.3"], ["v1.2.3-r1", "v1.2", "v1", "latest"], id="first"),
        pytest.param(
            *(2, ["v1.2.3", "v1.2.3-r1"], ["v1.2.3-r2", "v1.2", "v1", "latest"]), id="second"
        ),
        pytest.param(
            10,
            ["v1.2.3", *(f"v1.2.3-r{n}" for n in range(1, 10))],
            ["v1.2.3-r10", "v1.2", "v1", "latest"],
            id="tenth-is-compared-as-a-number",
        ),
        pytest.param(1, ["v1.2.3", "v1.2.4"], ["v1.2.3-r1"], id="newer-version"),
        pytest.param(1, ["v1.2.3", "v1.3.0-r1"], ["v1.2.3-r1", "v1.2"], id="newer-revision"),
        pytest.param(1, ["v1.2.3", "v1.2.4-rc.1"], None, id="newer-is-prerelease"),
    ],
)
def test_fr_011_revision_has_its_own_tag_and_takes_the_moving_ones(
    revision: int, existing: list[str], expected: list[str] | None
) -> None:
    """FR-011: v1.2.3 stays; v1.2.3-r1 comes after v1.2.3 and before v1.2.4."""
    expected = expected or ["v1.2.3-r1", "v1.2", "v1", "latest"]
    assert moves("v1.2.3", existing, revision=revision, floating=True) == expected


def test_version_after_its_revisions_moves_latest() -> None:
    """A revision is no prerelease: the next version is newer, the version before is not."""
    assert moves("v1.2.4", ["v1.2.3", "v1.2.3-r1"])[-1] == "latest"
    assert moves("v1.2.2", ["v1.2.3-r1"]) == ["v1.2.2"]


def test_prerelease_has_revisions_that_stay_prereleases() -> None:
    """The last "-r1" is the revision; a word such as rc.1 is not."""
    assert moves("v1.3.0-rc.1", ["v1.3.0-rc.1"], revision=1) == ["v1.3.0-rc.1-r1"]
    assert released("v1.3.0-rc1") is not None
    assert released("v1.3.0-rc1").revision == 0  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("revision", "existing", "why"),
    [
        pytest.param(1, [], "is not published", id="no-version"),
        pytest.param(2, ["v1.2.3"], "--revision 1", id="gap"),
        pytest.param(3, ["v1.2.3", "v1.2.3-r1"], "--revision 2", id="gap-after-a-revision"),
    ],
)
def test_revision_is_the_next_one(revision: int, existing: list[str], why: str) -> None:
    """A revision needs the version and every revision before it; the error names the next."""
    with pytest.raises(UsageError, match=why):
        moves("v1.2.3", existing, revision=revision)


def test_published_revision_never_changes() -> None:
    """A revision's tag with other content is a conflict, as a version's is."""
    with pytest.raises(TagConflictError, match=r"v1\.2\.3-r1 is already published"):
        moves("v1.2.3", ["v1.2.3", "v1.2.3-r1"], revision=1)


def test_version_that_names_a_revision_is_refused_with_the_option() -> None:
    """`release v1.2.3-r1` would look for a plugin of that version."""
    with pytest.raises(UsageError, match=r"use v1\.2\.3 --revision 1"):
        moves("v1.2.3-r1", [])


def test_previous_image_of_a_revision_is_the_one_before() -> None:
    """Sizes are compared with the revision before, or with the newest of the version before."""
    tags = ["v1.2.2", "v1.2.2-r1", "v1.2.3", "v1.2.3-r1", "v1.2.4-rc.1"]
    assert previous("v1.2.3", tags) == "v1.2.2-r1"
    assert previous("v1.2.3", tags, 1) == "v1.2.3"
    assert previous("v1.2.3", tags, 2) == "v1.2.3-r1"


def test_supported_are_the_newest_version_with_its_revisions_and_latest() -> None:
    """Older versions, prereleases and other tags get no fixes."""
    tags = ["latest", "v1.9.0", "v1.10.0-r1", "v1.10.0", "v1.11.0-rc.1", "v1.10", "sha256-x"]
    assert supported(tags) == ("v1.10.0", "v1.10.0-r1", "latest")
    assert supported([]) == ()
