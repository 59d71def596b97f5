"""Options and exit handling shared by several commands."""

from pathlib import Path
from typing import Annotated

import typer

from harness.build.assets import LOCAL_VERSION
from harness.cli.output import print_json
from harness.core.errors import NotProvenError
from harness.core.proof import Proof

Version = Annotated[
    str, typer.Argument(help=f"Plugin release, such as v0.1.5; {LOCAL_VERSION} is a stand-in.")
]
FullSize = Annotated[bool, typer.Option("--full-size", help="Use stand-ins of real size.")]
Reports = Annotated[Path, typer.Option(help="Directory for the proof.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
JsonLines = Annotated[
    bool, typer.Option("--json", help="Print each log line as one JSON object, without colour.")
]


def finish(proof: Proof, *, as_json: bool) -> None:
    """Print the proof if `as_json`; raise `NotProvenError` if it failed."""
    if as_json:
        print_json(proof.to_json_dict())
    if not proof.proven:
        raise NotProvenError(proof.verdict)
