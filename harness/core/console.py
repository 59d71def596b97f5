"""Progress and messages. Results go to stdout, everything here to stderr."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

_quiet_ci = os.environ.get("CI", "").lower() in {"1", "true"}
stderr = Console(
    stderr=True,
    force_terminal=False if _quiet_ci else None,
    soft_wrap=True,
    highlight=False,
)
_state = {"verbose": False, "quiet": False}

# C0 and C1 controls except tab and newline, characters that break or reorder lines, and lone
# surrogates: an image can print anything, and a terminal would interpret it.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """`text` with every character that controls a terminal written as an escape."""
    return _UNSAFE.sub(lambda found: ascii(found[0])[1:-1], text)


def configure(*, verbose: bool, quiet: bool) -> None:
    """Set the verbosity: `verbose` adds tool output, `quiet` leaves only errors."""
    _state.update(verbose=verbose, quiet=quiet)


def say(text: str) -> None:
    """Print one line, unless quiet."""
    if not _state["quiet"]:
        stderr.print(printable(text), markup=False)


def warn(text: str) -> None:
    """Print one line, even when quiet."""
    stderr.print(printable(text), markup=False, style="yellow")


def detail(text: str) -> None:
    """Print one line if `--verbose` is given."""
    if _state["verbose"]:
        stderr.print(printable(text), markup=False, style="dim")


def interactive() -> bool:
    """Whether a person is watching: a terminal, not CI, not quiet."""
    return stderr.is_terminal and not _state["quiet"]


@contextmanager
def step(title: str) -> Iterator["Step"]:
    """Report a piece of work: a live status line on a terminal, else one plain line."""
    current = Step(title)
    if not interactive():
        say(f"• {title}")
        yield current
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=stderr, transient=True) as progress:
        task = progress.add_task(title, total=None)
        current.show = lambda text: progress.update(task, description=escape(f"{title}: {text}"))
        yield current
    say(f"✓ {title}")


class Step:
    """Work in progress; `news` replaces its status."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.show = detail

    def news(self, text: str) -> None:
        """Show the latest status, shortened to one line."""
        line = printable(" ".join(text.split()))[:100]
        if line:
            self.show(line)


def die(text: str) -> None:
    """Print the error that ends the run."""
    print(f"error: {printable(text)}", file=sys.stderr, flush=True)
