"""Commands that wait for a plugin release and publish its image."""

import json
from pathlib import Path
from typing import Annotated

import typer

from harness import notes
from harness import release as releasing
from harness.build.wait_assets import wait_for_release
from harness.cli.expand import expanded
from harness.cli.options import Json, Version
from harness.core.omit import Omit
from harness.core.regions import load_regions, select
from harness.core.stages import Architecture
from harness.github import API
from harness.pipeline import BuildConfig
from harness.publish.results import to_json_dict
from harness.release import ReleaseConfig
from harness.rescan.job import GitHubApi


@expanded
def release(
    version: Annotated[str, typer.Argument(help="Plugin release, such as v0.1.5.")],  # noqa: ARG001 - part of `config`
    *,
    config: ReleaseConfig,
    as_json: Json = False,
) -> None:
    """Build, prove, scan and publish a release for every architecture."""
    if config.export:
        sealed = releasing.export(config)
        print(f"{sealed.directory} {sealed.digest}")
        return
    published = releasing.release(config)
    if published and as_json:
        print(json.dumps(to_json_dict(published)))
    elif published:
        print(published.plan.name)


def release_notes(
    output: Annotated[Path, typer.Argument(help="Directory that `harness release` wrote.")],
    *,
    github: Annotated[str, typer.Option(help="Repository on GitHub: OWNER/NAME.")],
    github_api: GitHubApi = API,
) -> None:
    """Put the release page, proofs and SBOMs into the notes and assets of the GitHub release."""
    notes.release_notes(output, github, api=github_api)


@expanded
def wait_release(
    version: Version,
    *,
    arch: Annotated[
        list[Architecture] | None, typer.Option(help="Repeatable; default: all.")
    ] = None,
    config: Annotated[
        BuildConfig,
        Omit("architecture", "base", "stand_ins", "full_size", "output", "reference"),
    ],
    timeout: Annotated[float, typer.Option(help="Maximum seconds to wait.", min=0)] = 1800,
    interval: Annotated[float, typer.Option(help="Seconds between checks.", min=0.1)] = 20,
) -> None:
    """Wait for a release's assets to finish uploading."""
    wait_for_release(
        version,
        arch or list(Architecture),
        select(load_regions(), config.without),
        config.release_url,
        timeout=timeout,
        interval=interval,
    )
