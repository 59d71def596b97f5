"""The notes and assets of the GitHub release, on a stand-in for GitHub's API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.core.errors import UsageError
from harness.github import GitHubError
from harness.github.releases import BEGIN, END, with_section
from harness.notes import release_notes
from harness.publish.page import render_page
from harness.publish.plan import TagPolicy
from harness.publish.results import write_results
from tests.unit.rescan.stand_in_github import REPOSITORY, TOKEN, StandInGitHub, stand_in_github

from .fake_registry import fake_registry
from .made import VERSION, both, publish_to

ENVIRON = {"GITHUB_TOKEN": TOKEN}


@pytest.fixture
def github() -> Iterator[StandInGitHub]:
    """The stand-in, without a release."""
    with stand_in_github() as made:
        yield made


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """What `harness release` wrote."""
    with fake_registry() as registry:
        published = publish_to(registry, both(tmp_path / "made"), tmp_path / "record")
    write_results(published, render_page(published, None), tmp_path / "out", {})
    return tmp_path / "out"


def publish(github: StandInGitHub, output: Path) -> str:
    return release_notes(output, REPOSITORY, api=github.url, environ=ENVIRON)


def test_release_gets_notes_and_assets(github: StandInGitHub, output: Path) -> None:
    """Digest, commands and sizes from the page; links to proof and SBOM, which are assets."""
    release = github.release(VERSION, "What is new in the plugin.")
    assert publish(github, output).endswith(f"/releases/tag/{VERSION}")
    body = release["body"]
    assert body.startswith("What is new in the plugin.\n\n")
    page = (output / "release.md").read_text(encoding="utf-8")
    assert page.strip() in body
    assert "docker pull" in body
    assert set(github.assets) == {
        f"{VERSION}-{architecture}-{name}"
        for architecture in ("amd64", "arm64")
        for name in ("proof.json", "proof.html", "sbom.cdx.json")
    }
    for name in github.assets:
        assert f"https://github.com/{REPOSITORY}/releases/download/{VERSION}/{name}" in body
    proof = json.loads(github.assets[f"{VERSION}-amd64-proof.json"])
    assert proof["image"]["repo_digests"], "the proof names what is in the registry"


def test_second_run_replaces_its_own_part_only(github: StandInGitHub, output: Path) -> None:
    """A re-run changes nothing; what maintainers wrote before and after stays."""
    release = github.release(VERSION, None)
    publish(github, output)
    release["body"] = f"before\n{release['body']}\nafter"
    first, sent = release["body"], len(github.changed())
    publish(github, output)
    assert release["body"] == first
    assert github.changed()[sent:] == [f"PATCH /repos/{REPOSITORY}/releases/1"]


def test_changed_asset_is_replaced(github: StandInGitHub, output: Path) -> None:
    """An upload that an earlier run left with other content is deleted first."""
    github.release(VERSION)
    name = f"{VERSION}-amd64-proof.html"
    github.assets[name] = b"half of it"
    publish(github, output)
    assert github.assets[name] == (output / "assets" / name).read_bytes()


def test_revision_adds_its_assets_to_the_release_of_the_version(
    github: StandInGitHub, tmp_path: Path
) -> None:
    """There is no git tag v1.2.3-r1: the notes of v1.2.3 name the newest image."""
    release = github.release(VERSION)
    with fake_registry() as registry:
        publish_to(registry, both(tmp_path / "made"), tmp_path / "record")
        rebuilt = both(tmp_path / "rebuilt", seed=7)
        policy = TagPolicy(revision=1)
        second = publish_to(registry, rebuilt, tmp_path / "record-1", policy=policy)
    write_results(second, render_page(second, None), tmp_path / "out", {})
    publish(github, tmp_path / "out")
    assert f"{VERSION}-r1-amd64-sbom.cdx.json" in github.assets
    assert f"# owner/image {VERSION}-r1" in release["body"]


def test_missing_release_is_an_error_with_the_remedy(github: StandInGitHub, output: Path) -> None:
    """Nothing is created: a tag would appear where nobody put it."""
    with pytest.raises(GitHubError, match=f"no release {VERSION}: create it"):
        publish(github, output)
    assert github.changed() == []


def test_upload_to_another_host_is_refused(github: StandInGitHub, output: Path) -> None:
    """The token is sent to GitHub only."""
    github.upload_url = "http://evil.example/uploads/1/assets"
    github.release(VERSION)
    with pytest.raises(GitHubError, match="another host"):
        publish(github, output)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 5}', '{"version": null}'])
def test_record_in_another_form_is_an_error_with_the_remedy(text: str, tmp_path: Path) -> None:
    """Only `harness release` writes it."""
    (tmp_path / "published.json").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"published\.json cannot be read.*run `harness release`"):
        release_notes(tmp_path, REPOSITORY, environ=ENVIRON)


def test_notes_need_a_release_and_a_token(tmp_path: Path) -> None:
    """Both errors say what to do."""
    with pytest.raises(UsageError, match="contents: write"):
        release_notes(tmp_path, REPOSITORY, environ={})
    with pytest.raises(UsageError, match="run `harness release` first"):
        release_notes(tmp_path, REPOSITORY, environ=ENVIRON)


@pytest.mark.parametrize(
    ("notes", "expected"),
    [
        pytest.param("", f"{BEGIN}\nnew\n{END}\n", id="empty"),
        pytest.param("text", f"text\n\n{BEGIN}\nnew\n{END}\n", id="first-time"),
        pytest.param(f"a\n{BEGIN}\nold\n{END}\nb", f"a\n{BEGIN}\nnew\n{END}\nb", id="again"),
        pytest.param(f"{BEGIN} half", f"{BEGIN} half\n\n{BEGIN}\nnew\n{END}\n", id="half"),
        pytest.param(
            f"{BEGIN} half\n{BEGIN}\nold\n{END}",
            f"{BEGIN} half\n{BEGIN}\nnew\n{END}",
            id="half-again",
        ),
    ],
)
def test_section_of_the_notes(notes: str, expected: str) -> None:
    """The harness's part is between its marks."""
    assert with_section(notes, r"new") == expected
