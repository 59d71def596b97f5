"""The command line: parse options, build a config, call the pipeline. No logic."""

from typing import Annotated

import typer

from harness.cli import image, kubernetes, machine, release, rescan, scan
from harness.core import console

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Build one container image from many regional binaries and prove that it works.",
)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - Typer calls it
    if wanted:
        machine.version()
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[  # noqa: ARG001 - its callback does all
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the harness's version."
        ),
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show tool output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show only problems.")] = False,
) -> None:
    console.configure(verbose=verbose, quiet=quiet)


for command in (
    image.prove,
    image.build,
    image.verify,
    release.release,
    release.release_notes,
    release.wait_release,
    scan.scan,
    rescan.rescan,
    kubernetes.smoke,
    image.run,
    image.logs,
    machine.doctor,
    machine.sweep,
    machine.version,
):
    app.command()(command)
