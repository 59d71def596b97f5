"""The command `scan`, and the options that say how to scan; a release has them too."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from harness import pipeline
from harness.cli.options import Json
from harness.core.stages import StandInPolicy
from harness.scan import EndOfLife, ScanOptions, passed
from harness.scan.model import IGNORE_FILE

DbRepository = Annotated[
    list[str] | None, typer.Option(help="OCI repository of the vulnerability database; several.")
]
SkipDbUpdate = Annotated[
    bool, typer.Option("--skip-db-update", help="Use the vulnerability database that is there.")
]
Offline = Annotated[bool, typer.Option("--offline", help="Let the scan ask nothing of anyone.")]
MaxDbAge = Annotated[float, typer.Option(help="Days that the database may be old.")]
IgnoreFile = Annotated[Path, typer.Option(help="What may stay, why, and until when (YAML).")]
Vex = Annotated[list[Path] | None, typer.Option(help="VEX document; several.")]
EndOfLifePolicy = Annotated[EndOfLife, typer.Option(help="A base past its end of support.")]
ScanOutput = Annotated[Path, typer.Option(help="Directory for the reports of the scan.")]
TrivyCache = Annotated[Path | None, typer.Option(help="Trivy's cache, with its database.")]
DatabaseStandIn = Annotated[
    StandInPolicy, typer.Option(help="When a small stand-in database may be used.")
]


def scan_options(
    *,
    db_repository: list[str] | None,
    skip_db_update: bool,
    offline: bool,
    max_db_age: float,
    ignore_file: Path,
    vex: list[Path] | None,
    end_of_life: EndOfLife,
    stand_ins: StandInPolicy,
    cache_dir: Path | None = None,
) -> ScanOptions:
    """What the options above ask for; `max_db_age` is days."""
    return ScanOptions(
        db_repositories=tuple(db_repository or ()),
        skip_db_update=skip_db_update,
        offline=offline,
        max_age=timedelta(days=max_db_age),
        ignore_file=ignore_file,
        vex=tuple(vex or ()),
        end_of_life=end_of_life,
        cache=cache_dir,
        stand_ins=stand_ins,
    )


def scan(
    image: Annotated[str, typer.Argument(help="Any image: a name, a digest or an ID.")],
    *,
    db_repository: DbRepository = None,
    skip_db_update: SkipDbUpdate = False,
    offline: Offline = False,
    max_db_age: MaxDbAge = 7,
    ignore_file: IgnoreFile = IGNORE_FILE,
    vex: Vex = None,
    end_of_life: EndOfLifePolicy = EndOfLife.WARN,
    cache_dir: TrivyCache = None,
    stand_ins: DatabaseStandIn = StandInPolicy.NEVER,
    output: ScanOutput = Path("scan-out"),
    as_json: Json = False,
) -> None:
    """Scan an image with Trivy; fail when anything critical or high is in it."""
    options = scan_options(
        db_repository=db_repository,
        skip_db_update=skip_db_update,
        offline=offline,
        max_db_age=max_db_age,
        ignore_file=ignore_file,
        vex=vex,
        end_of_life=end_of_life,
        stand_ins=stand_ins,
        cache_dir=cache_dir,
    )
    report = pipeline.scan_existing(image, options, output)
    if as_json:
        print(json.dumps(report.to_json_dict(), ensure_ascii=False))
    passed(report)
