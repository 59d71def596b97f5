"""Options and endings that more than one command has."""

import json
from pathlib import Path
from typing import Annotated

import typer

from harness.build.assets import LOCAL_VERSION
from harness.core.errors import NotProvenError
from harness.core.proof import Proof
from harness.core.stages import Architecture, StandInPolicy

Version = Annotated[
    str, typer.Argument(help=f"Release of the plugin, such as v0.1.5; {LOCAL_VERSION}: a stand-in.")
]
Arch = Annotated[Architecture | None, typer.Option(help="Default: that of the engine.")]
Base = Annotated[str, typer.Option(help="Base image.")]
Url = Annotated[str, typer.Option(help="Where the releases are.")]
StandIns = Annotated[
    StandInPolicy | None,
    typer.Option(help="When a stand-in may be used; default: never, auto for a -local version."),
]
Without = Annotated[
    list[str] | None,
    typer.Option(help="Region to leave out, repeatable; `missing`: those the release lacks."),
]
FullSize = Annotated[bool, typer.Option("--full-size", help="Stand-ins as large as the real ones.")]
Output = Annotated[Path, typer.Option(help="Directory for the build record.")]
Reports = Annotated[Path, typer.Option(help="Directory for the proof.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Tag = Annotated[str, typer.Option(help="Name of the image; default: by version and architecture.")]


def finish(proof: Proof, *, as_json: bool) -> None:
    """Print the proof when `as_json`; `NotProvenError` when it does not hold."""
    if as_json:
        print(json.dumps(proof.to_json_dict(), ensure_ascii=False))
    if not proof.proven:
        raise NotProvenError(proof.verdict)
