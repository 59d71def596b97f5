"""The notes and the assets of a release on GitHub.

https://docs.github.com/rest/releases: an asset cannot be replaced, only deleted and uploaded again.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.github.api import GitHub, GitHubError

BEGIN, END = "<!-- image: begin -->", "<!-- image: end -->"
"""The harness's part of the notes; the rest belongs to the maintainers."""


def with_section(notes: str, section: str) -> str:
    """Return `notes` with `section` as the harness's part, in its place or at the end."""
    part = f"{BEGIN}\n{section.strip()}\n{END}"
    begin, end = re.escape(BEGIN), re.escape(END)
    pattern = re.compile(f"{begin}(?:(?!{begin}).)*?{end}", re.DOTALL)
    if pattern.search(notes):
        return pattern.sub(lambda _: part, notes, count=1)
    return f"{notes.strip()}\n\n{part}\n".lstrip()


def publish_notes(github: GitHub, tag: str, section: str, assets: Sequence[Path]) -> str:
    """Upload `assets` to the release `tag` and put `section` into its notes; return its URL.

    An asset that is there with the same content stays. Raises `GitHubError`, also if there is no
    such release.
    """
    release = github.find(f"releases/tags/{tag}")
    if release is None:
        raise GitHubError(
            f"{github.repository} has no release {tag}: create it, then run this again"
        )
    number = int(release["id"])
    there = {str(asset["name"]): asset for asset in github.everything(f"releases/{number}/assets")}
    for path in assets:
        _uploaded(github, release, path, there.get(path.name))
    body = with_section(str(release.get("body") or ""), section)
    return str(github.change(f"releases/{number}", body=body).get("html_url", ""))


def _uploaded(
    github: GitHub, release: dict[str, Any], path: Path, there: dict[str, Any] | None
) -> None:
    data = path.read_bytes()
    if there:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if there.get("digest") == digest and there.get("state") == "uploaded":
            return
        github.delete(f"releases/assets/{there['id']}")
    # A URI template (RFC 6570): "https://uploads.github.com/…/assets{?name,label}".
    github.upload(str(release["upload_url"]).partition("{")[0], path.name, data)
