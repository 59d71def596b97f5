"""Options of the command line that say how to scan; more than one command has them."""

from pathlib import Path
from typing import Annotated

import typer

from harness.model import StandInPolicy
from harness.scan import EndOfLife

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
