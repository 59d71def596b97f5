"""Options and exit handling shared by several commands."""

import json
from pathlib import Path
from typing import Annotated

import typer

from harness.build.assets import LOCAL_VERSION
from harness.core.errors import NotProvenError
from harness.core.proof import Proof
from harness.core.stages import Architecture, StandInPolicy

Version = Annotated[
    str, typer.Argument(help=f"Plugin release, such as v0.1.5; {LOCAL_VERSION} is a stand-in.")
]
Arch = Annotated[Architecture | None, typer.Option(help="Architecture; default: the engine's.")]
Base = Annotated[str, typer.Option(help="Base image.")]
Url = Annotated[str, typer.Option(help="Base URL of the releases.")]
StandIns = Annotated[
    StandInPolicy | None,
    typer.Option(help="When to use stand-ins; default: never, or auto for a -local version."),
]
Without = Annotated[
    list[str] | None,
    typer.Option(help="Region to leave out (repeatable); `missing`: those the release lacks."),
]
FullSize = Annotated[bool, typer.Option("--full-size", help="Use stand-ins of real size.")]
Output = Annotated[Path, typer.Option(help="Directory for the build record.")]
Reports = Annotated[Path, typer.Option(help="Directory for the proof.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Tag = Annotated[str, typer.Option(help="Image name; default: from version and architecture.")]


def finish(proof: Proof, *, as_json: bool) -> None:
    """Print the proof if `as_json`; raise `NotProvenError` if it failed."""
    if as_json:
        print(json.dumps(proof.to_json_dict(), ensure_ascii=False))
    if not proof.proven:
        raise NotProvenError(proof.verdict)
