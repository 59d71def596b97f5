"""Commands about this machine and this harness."""

import dataclasses
from typing import Annotated

import typer

from harness import __version__
from harness.cli.options import Json
from harness.cli.output import print_json
from harness.engine.provision import connect, stop_leftover_engine
from harness.machine import doctor as machine
from harness.machine.sweep import sweep as sweep_engine
from harness.stand_ins.cluster.box import sweep_boxes


def doctor(*, as_json: Json = False) -> None:
    """Check this machine and suggest fixes."""
    findings = machine.examine()
    if as_json:
        print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        machine.show(findings)
    raise typer.Exit(0 if all(finding.ok or finding.optional for finding in findings) else 3)


def sweep(
    *,
    everything: Annotated[bool, typer.Option("--all", help="Also clean up active runs.")] = False,
    as_json: Json = False,
) -> None:
    """Clean up after interrupted runs: containers and the harness's own engine."""
    client = connect()
    removed = None if client is None else sweep_engine(client, everything=everything)
    boxes = sweep_boxes()
    stopped = stop_leftover_engine()
    if as_json:
        print_json({"removed": [*(removed or ()), *boxes], "engine_stopped": stopped})
        return
    if removed is not None:
        print(f"{len(removed)} removed")
    for name in boxes:
        print(f"{name} removed")
    if stopped:
        print("1 engine stopped")


def version(*, as_json: Json = False) -> None:
    """Print the harness's version."""
    if as_json:
        print_json({"version": __version__})
    else:
        print(__version__)
