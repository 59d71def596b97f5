"""The command line: parse options, build a config, call the pipeline. No logic."""

from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from harness import __version__
from harness.core import console

COMMANDS = {
    "prove": "image",
    "build": "image",
    "verify": "image",
    "release": "release",
    "release-notes": "release",
    "wait-release": "release",
    "scan": "scan",
    "rescan": "rescan",
    "smoke": "kubernetes",
    "run": "image",
    "logs": "image",
    "doctor": "machine",
    "sweep": "machine",
    "version": "machine",
}
"""Each command's module in this package, which has a function of its name."""


class LazyGroup(TyperGroup):
    """Imports the module of a command when it is needed: all together take half a second."""

    def __init__(self, **given: Any) -> None:
        """Take what Typer gives to a group."""
        super().__init__(**given)
        nothing: Any = None
        self.commands = dict.fromkeys(COMMANDS, nothing)  # listed, and suggested if misspelt

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - the base class gives it
        """Return the command, None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"harness.cli.{COMMANDS[cmd_name]}")
        alone = typer.Typer(add_completion=False)
        alone.command(cmd_name)(getattr(module, cmd_name.replace("-", "_")))
        return typer.main.get_command(alone)


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Build one container image from many regional binaries and prove that it works.",
)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - Typer calls it
    if wanted:
        print(__version__)
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
