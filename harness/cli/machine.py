"""Commands about this machine and this harness."""

import dataclasses
import json
from typing import Annotated

import typer

from harness import __version__
from harness.cli.options import Json
from harness.engine.provision import connect, stop_leftover_engine
from harness.machine import doctor as machine
from harness.machine.sweep import sweep as sweep_engine
from harness.stand_ins.cluster.box import sweep_boxes


def doctor(*, as_json: Json = False) -> None:
    """Check this machine and suggest fixes."""
    findings = machine.examine()
    if as_json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings]))
    else:
        machine.show(findings)
    raise typer.Exit(0 if all(finding.ok or finding.optional for finding in findings) else 3)


def sweep(
    *,
    everything: Annotated[bool, typer.Option("--all", help="Also clean up active runs.")] = False,
) -> None:
    """Clean up after interrupted runs: containers and the harness's own engine."""
    client = connect()
    if client is not None:
        removed = sweep_engine(client, everything=everything)
        print(f"{len(removed)} removed")
    for name in sweep_boxes():
        print(f"{name} removed")
    if stop_leftover_engine():
        print("1 engine stopped")


def version() -> None:
    """Print the harness's version."""
    print(__version__)
