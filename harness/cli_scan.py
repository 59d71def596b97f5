"""Options of the command line that say how to scan; more than one command has them."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from harness.model import StandInPolicy
from harness.scan import EndOfLife, ScanOptions

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
