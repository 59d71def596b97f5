"""The command `scan` and its options, which `release` shares."""

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
    list[str] | None,
    typer.Option(help="OCI repository of the vulnerability database (repeatable)."),
]
SkipDbUpdate = Annotated[
    bool, typer.Option("--skip-db-update", help="Use the local vulnerability database as it is.")
]
Offline = Annotated[bool, typer.Option("--offline", help="Scan without network access.")]
MaxDbAge = Annotated[float, typer.Option(help="Maximum age of the database in days.")]
IgnoreFile = Annotated[Path, typer.Option(help="Accepted findings: reason and expiry (YAML).")]
Vex = Annotated[list[Path] | None, typer.Option(help="VEX document (repeatable).")]
EndOfLifePolicy = Annotated[
    EndOfLife, typer.Option(help="Treatment of a base past its end of support.")
]
ScanOutput = Annotated[Path, typer.Option(help="Directory for the scan reports.")]
TrivyCache = Annotated[
    Path | None, typer.Option(help="Trivy's cache directory, with its database.")
]
DatabaseStandIn = Annotated[
    StandInPolicy, typer.Option(help="When to use a small stand-in database.")
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
    """`ScanOptions` from the options above; `max_db_age` is in days."""
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
    image: Annotated[str, typer.Argument(help="Image: name, digest or ID.")],
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
    """Scan an image with Trivy; fail on critical or high findings."""
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
