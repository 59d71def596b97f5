"""FR-011 (`latest` and version tags): which tags move."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from harness.core.errors import TagConflictError, UsageError
from harness.publish.tags import plan_tags, previous

OURS, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def no_tag(_: str) -> str | None:
    return None


def moves(version: str, existing: Sequence[str], **options: bool | None) -> list[str]:
    names = dict.fromkeys(existing, OTHER)
    plan = plan_tags(version, OURS, names, names.get, **options)  # type: ignore[arg-type]
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


def test_previous_release_is_found() -> None:
    """The newest earlier release, in version order."""
    tags = ["v1.2.0", "v1.10.0", "v1.9.0", "v2.0.0", "v1.11.0-rc.1", "latest"]
    assert previous("v1.12.0", tags) == "v1.10.0"
    assert previous("v1.0.0", tags) is None
