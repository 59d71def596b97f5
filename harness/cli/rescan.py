"""The command `rescan`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from harness import release as releasing
from harness.cli.options import Json
from harness.cli.scan import (
    DatabaseStandIn,
    DbRepository,
    IgnoreFile,
    MaxDbAge,
    Offline,
    SkipDbUpdate,
    TrivyCache,
    Vex,
    scan_options,
)
from harness.core.stages import StandInPolicy
from harness.github import API
from harness.registry.credentials import GITHUB
from harness.rescan import job
from harness.scan import EndOfLife
from harness.scan.model import IGNORE_FILE


def rescan(
    *,
    registry: Annotated[str, typer.Option(help="Registry host.")] = GITHUB,
    repository: Annotated[
        str, typer.Option(help="Repository name.", envvar="HARNESS_REPOSITORY")
    ] = releasing.REPOSITORY,
    registry_ca: Annotated[
        Path | None, typer.Option(help="CA certificate of the registry (PEM).")
    ] = None,
    issues: Annotated[
        str, typer.Option(help="Keep one issue per finding in this GitHub repository: OWNER/NAME.")
    ] = "",
    github_api: Annotated[
        str, typer.Option(help="URL of GitHub's REST API.", envvar="GITHUB_API_URL")
    ] = API,
    db_repository: DbRepository = None,
    skip_db_update: SkipDbUpdate = False,
    offline: Offline = False,
    max_db_age: MaxDbAge = 7,
    ignore_file: IgnoreFile = IGNORE_FILE,
    vex: Vex = None,
    cache_dir: TrivyCache = None,
    stand_ins: DatabaseStandIn = StandInPolicy.NEVER,
    output: Annotated[Path, typer.Option(help="Directory for the reports.")] = Path("rescan-out"),
    as_json: Json = False,
) -> None:
    """Scan every supported image of the registry again, and keep one issue per finding."""
    config = job.RescanConfig(
        registry=registry,
        repository=repository,
        ca=registry_ca,
        issues=issues,
        api=github_api,
        scan=scan_options(
            db_repository=db_repository,
            skip_db_update=skip_db_update,
            offline=offline,
            max_db_age=max_db_age,
            ignore_file=ignore_file,
            vex=vex,
            end_of_life=EndOfLife.WARN,
            stand_ins=stand_ins,
            cache_dir=cache_dir,
        ),
        output=output,
    )
    found = job.rescan(config)
    if as_json:
        print(json.dumps(found.to_json_dict()))
