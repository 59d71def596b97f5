"""Put what was published into the notes and assets of the release on GitHub."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from harness.core.console import say, step
from harness.core.decode import member
from harness.core.errors import UsageError
from harness.core.files import OWN
from harness.core.untrusted import reading
from harness.github import API, GitHub
from harness.github.releases import publish_notes
from harness.publish.results import ASSETS, PAGE, PUBLISHED
from harness.registry import Secret
from harness.report.markdown_templates import markdown_environment

SERVER = "https://github.com"


@dataclass(frozen=True, kw_only=True)
class Download:
    """One asset of the release."""

    name: str
    url: str


def release_notes(
    output: Path, repository: str, *, api: str = API, environ: Mapping[str, str] = os.environ
) -> str:
    """Publish the notes of the release in `output`, a directory that `harness release` wrote.

    The notes are the release page and links to the proofs and SBOMs, which become assets of the
    GitHub release of the plugin's version. Returns the release's URL. Raises `UsageError` without
    such a directory or GITHUB_TOKEN, and `GitHubError`.
    """
    token = environ.get("GITHUB_TOKEN", "")
    if not token:
        raise UsageError("GITHUB_TOKEN is not set: it needs the permission contents: write")
    remedy = "run `harness release` first, or name its --output"
    try:
        with reading(str(output / PUBLISHED), UsageError, remedy):
            published = json.loads((output / PUBLISHED).read_bytes())
            version: str = member(published, str, "version")
        page = (output / PAGE).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {error.filename}: {error.strerror}; {remedy}") from None
    assets = sorted(path for path in (output / ASSETS).glob("*") if path.name != OWN)
    server = environ.get("GITHUB_SERVER_URL", SERVER)
    root = f"{server}/{repository}/releases/download/{quote(version)}"
    downloads = [Download(name=a.name, url=f"{root}/{quote(a.name)}") for a in assets]
    text = _render(page, downloads)
    with (
        step(f"uploading {len(assets)} assets to {repository} {version}"),
        GitHub(repository, Secret(token), api=api) as github,
    ):
        url = publish_notes(github, version, text, assets)
    say(f"✓ notes: {url}")
    return url


def _render(page: str, downloads: list[Download]) -> str:
    template = markdown_environment("harness.publish").get_template("notes.md")
    return template.render(page=page.strip(), downloads=downloads)
