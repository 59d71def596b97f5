"""Commands that wait for a plugin release and publish its image."""

from pathlib import Path
from typing import Annotated

import typer

from harness import notes
from harness import release as releasing
from harness.build.wait_assets import wait_for_release
from harness.cli.expand import expanded
from harness.cli.options import Json, Version
from harness.cli.output import print_json
from harness.core.omit import Omit
from harness.core.regions import load_regions, select
from harness.core.stages import Architecture
from harness.github import API
from harness.pipeline import BuildConfig
from harness.publish.chart import Chart
from harness.publish.plan import Plan
from harness.publish.results import plan_to_json_dict, sealed_to_json_dict, to_json_dict
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
        if as_json:
            print_json(sealed_to_json_dict(sealed))
        else:
            print(f"{sealed.directory} {sealed.digest}")
        return
    published = releasing.release(
        config, show_plan=_print_json_plan if as_json else releasing.print_plan
    )
    if published and as_json:
        print_json(to_json_dict(published))
    elif published:
        print(published.plan.name)


def release_notes(
    output: Annotated[Path, typer.Argument(help="Directory that `harness release` wrote.")],
    *,
    github: Annotated[str, typer.Option(help="Repository on GitHub: OWNER/NAME.")],
    github_api: GitHubApi = API,
    as_json: Json = False,
) -> None:
    """Put the release page, proofs and SBOMs into the notes and assets of the GitHub release."""
    url = notes.release_notes(output, github, api=github_api)
    if as_json:
        print_json({"url": url})


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
    as_json: Json = False,
) -> None:
    """Wait for a release's assets to finish uploading."""
    architectures = arch or list(Architecture)
    regions = select(load_regions(), config.without)
    wait_for_release(
        version, architectures, regions, config.release_url, timeout=timeout, interval=interval
    )
    if as_json:
        print_json(
            {
                "version": version,
                "architectures": [architecture.value for architecture in architectures],
                "regions": [region.name for region in regions],
            }
        )


def _print_json_plan(plan: Plan, chart: Chart) -> None:
    print_json(plan_to_json_dict(plan, chart))
