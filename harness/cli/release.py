"""Commands that wait for a plugin release and publish its image."""

import json
from pathlib import Path
from typing import Annotated

import typer

from harness import release as releasing
from harness.build.assets import RELEASES
from harness.build.base import DEFAULT_BASE
from harness.build.wait_assets import wait_for_release
from harness.cli.options import Base, FullSize, Json, StandIns, Url, Version, Without
from harness.cli.scan import (
    DbRepository,
    EndOfLifePolicy,
    IgnoreFile,
    MaxDbAge,
    Offline,
    SkipDbUpdate,
    Vex,
    scan_options,
)
from harness.core.regions import load_regions, select
from harness.core.stages import Architecture
from harness.pipeline import BuildConfig
from harness.publish.plan import TagPolicy
from harness.publish.results import to_json_dict
from harness.registry.credentials import GITHUB
from harness.scan import EndOfLife
from harness.scan.model import IGNORE_FILE


def release(
    version: Annotated[str, typer.Argument(help="Plugin release, such as v0.1.5.")],
    *,
    arch: Annotated[
        list[Architecture] | None, typer.Option(help="Architecture to seal with --export.")
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(help="Build, prove, scan and seal into this directory; do not publish."),
    ] = None,
    source: Annotated[
        list[Path] | None,
        typer.Option("--from", help="Publish a directory sealed with --export (repeatable)."),
    ] = None,
    registry: Annotated[
        str, typer.Option(help="Registry host; localhost starts a temporary one.")
    ] = GITHUB,
    repository: Annotated[
        str, typer.Option(help="Repository name.", envvar="HARNESS_REPOSITORY")
    ] = releasing.REPOSITORY,
    registry_ca: Annotated[
        Path | None, typer.Option(help="CA certificate of the registry (PEM).")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the plan.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Resume a failed run.")] = False,
    unsigned: Annotated[
        bool, typer.Option("--unsigned", help="Do not sign, although there is a key or identity.")
    ] = False,
    latest: Annotated[
        bool | None,
        typer.Option("--latest/--no-latest", help="Move the tag latest; default: by version."),
    ] = None,
    floating: Annotated[bool, typer.Option("--floating", help="Also tag v1.2 and v1.")] = False,
    revision: Annotated[
        int,
        typer.Option(help="Number of a rebuilt image: 1 publishes v1.2.3-r1.", min=0),
    ] = 0,
    base: Base = DEFAULT_BASE,
    release_url: Url = RELEASES,
    stand_ins: StandIns = None,
    without: Annotated[
        list[str] | None, typer.Option(help="Region to leave out (repeatable).")
    ] = None,
    full_size: FullSize = False,
    db_repository: DbRepository = None,
    skip_db_update: SkipDbUpdate = False,
    offline: Offline = False,
    max_db_age: MaxDbAge = 7,
    ignore_file: IgnoreFile = IGNORE_FILE,
    vex: Vex = None,
    end_of_life: EndOfLifePolicy = EndOfLife.WARN,
    output: Annotated[
        Path, typer.Option(help="Directory for records, sealed images, page.")
    ] = Path("release-out"),
    as_json: Json = False,
) -> None:
    """Build, prove, scan and publish a release for every architecture."""
    build = BuildConfig(
        version=version,
        base=base,
        release_url=release_url,
        stand_ins=stand_ins,
        full_size=full_size,
        without=tuple(without or ()),
    )
    config = releasing.ReleaseConfig(
        build=build,
        registry=registry,
        repository=repository,
        architectures=tuple(arch or ()),
        export=export,
        sources=tuple(source or ()),
        ca=registry_ca,
        dry_run=dry_run,
        resume=resume,
        unsigned=unsigned,
        tags=TagPolicy(latest=latest, floating=floating, revision=revision),
        scan=scan_options(
            db_repository=db_repository,
            skip_db_update=skip_db_update,
            offline=offline,
            max_db_age=max_db_age,
            ignore_file=ignore_file,
            vex=vex,
            end_of_life=end_of_life,
            stand_ins=build.policy,
        ),
        output=output,
    )
    if export:
        sealed = releasing.export(config)
        print(f"{sealed.directory} {sealed.digest}")
        return
    published = releasing.release(config)
    if published and as_json:
        print(json.dumps(to_json_dict(published)))
    elif published:
        print(published.plan.name)


def wait_release(
    version: Version,
    *,
    arch: Annotated[
        list[Architecture] | None, typer.Option(help="Repeatable; default: all.")
    ] = None,
    release_url: Url = RELEASES,
    without: Without = None,
    timeout: Annotated[float, typer.Option(help="Maximum seconds to wait.", min=0)] = 1800,
    interval: Annotated[float, typer.Option(help="Seconds between checks.", min=0.1)] = 20,
) -> None:
    """Wait for a release's assets to finish uploading."""
    wait_for_release(
        version,
        arch or list(Architecture),
        select(load_regions(), without or ()),
        release_url,
        timeout=timeout,
        interval=interval,
    )
