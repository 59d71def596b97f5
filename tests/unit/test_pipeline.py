"""What is built: inputs, regions, and when stand-ins are used."""

from __future__ import annotations

from typing import Any

import pytest

from harness.build.assets import LOCAL_VERSION, find_release, is_local
from harness.core.errors import ReleaseError, UsageError
from harness.core.regions import load_regions
from harness.core.stages import Architecture, StandInPolicy
from harness.pipeline import BuildConfig

ALWAYS, AUTO, NEVER = StandInPolicy.ALWAYS, StandInPolicy.AUTO, StandInPolicy.NEVER
SERVER = "http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("config", "plugin", "rest"),
    [
        pytest.param(BuildConfig(), ALWAYS, AUTO, id="no-version"),
        pytest.param(BuildConfig(version="v1.2.3-local"), ALWAYS, AUTO, id="local"),
        pytest.param(BuildConfig(stand_ins=ALWAYS), ALWAYS, ALWAYS, id="no-version-always"),
        pytest.param(BuildConfig(version="v0.1.8"), NEVER, NEVER, id="release"),
        pytest.param(BuildConfig(version="v0.1.8", stand_ins=AUTO), AUTO, AUTO, id="release-auto"),
        pytest.param(BuildConfig(release_url=SERVER), AUTO, AUTO, id="local-of-a-server"),
        pytest.param(
            BuildConfig(version="v0.1.5", stand_ins=AUTO, plugin=ALWAYS), ALWAYS, AUTO, id="tests"
        ),
    ],
)
def test_stand_ins_are_the_default_only_without_a_release(
    config: BuildConfig, plugin: StandInPolicy, rest: StandInPolicy
) -> None:
    """Without a version the plugin is a stand-in; a release is built without stand-ins."""
    assert (config.plugin_policy, config.policy) == (plugin, rest)


@pytest.mark.parametrize(
    ("version", "local"),
    [
        pytest.param(LOCAL_VERSION, True, id="default"),
        pytest.param("v0.1.5-local", True, id="any-number"),
        pytest.param("v0.1.5", False, id="release"),
        pytest.param("v0.1.5-rc.1", False, id="prerelease"),
        pytest.param("v0.1.5-localhost", False, id="other-word"),
    ],
)
def test_version_says_whether_it_is_a_stand_in(version: str, *, local: bool) -> None:
    """A version with the prerelease `local` is a stand-in."""
    assert is_local(version) is local


@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param({"stand_ins": NEVER}, "is a stand-in version", id="local-and-never"),
        pytest.param({"without": ("mars",)}, "'mars', which is not one of", id="unknown-region"),
        pytest.param({"without": ("missing,mars",)}, "'mars'", id="missing-and-unknown"),
        pytest.param(
            {"without": tuple(r.name for r in load_regions())}, "every region", id="all-regions"
        ),
    ],
)
def test_what_cannot_be_built_is_refused_before_anything_is_made(
    given: dict[str, Any], words: str
) -> None:
    """Contradictory options and invalid region lists are usage errors, raised before any engine."""
    with pytest.raises(UsageError, match=words):
        BuildConfig(**given)


def test_release_that_cannot_be_reached_says_how_a_stand_in_is_allowed() -> None:
    """A release is built without stand-ins by default; the error names the option to allow them."""
    config = BuildConfig(version="v1.2.3", release_url=SERVER)
    with (
        pytest.raises(ReleaseError, match="--stand-ins auto"),
        find_release(
            config.version,
            Architecture.AMD64,
            load_regions(),
            base_url=config.release_url,
            policy=config.plugin_policy,
        ),
    ):
        pass
