"""Progress and messages. Results go to stdout, everything here to stderr."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from harness.core.text import human_seconds, human_size

TOLD_FROM_SECONDS = 1

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


def escaped(json_text: str) -> str:
    """The same JSON without characters that control a terminal; they stand inside strings only."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", json_text)


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
    """Report a piece of work: a live status line on a terminal, else a plain line at its start.

    A line at the end has the time if it took more than `TOLD_FROM_SECONDS`.
    """
    current = Step(title)
    if not interactive():
        say(f"• {title}")
        yield current
        if current.took_long:
            say(current.summary)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), _Amount(), TimeElapsedColumn())
    with Progress(*columns, console=stderr, transient=True) as progress:
        current.attach(progress)
        yield current
    say(current.summary)


class Step:
    """Work in progress: `news` replaces its status, `transferred` its number of bytes."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.show = detail
        self._began = monotonic()
        self._bytes = 0
        self._progress: Progress | None = None

    def attach(self, progress: Progress) -> None:
        """Show the status in `progress` from now on."""
        task = progress.add_task(escape(printable(self.title)), total=None, amount=None)

        def show(text: str) -> None:
            progress.update(task, description=escape(printable(f"{self.title}: {text}")))

        self.show = show
        self._progress = progress

    def news(self, text: str) -> None:
        """Show the latest status, shortened to one line."""
        line = printable(" ".join(text.split()))[:100]
        if line:
            self.show(line)

    def transferred(self, done: int, total: int | None = None) -> None:
        """Show that `done` bytes are transferred, of `total` if that is known."""
        self._bytes = done
        if self._progress:
            task = self._progress.task_ids[0]
            self._progress.update(task, completed=done, amount=total or 0)

    @property
    def took_long(self) -> bool:
        """Whether the time so far is worth a line."""
        return monotonic() - self._began > TOLD_FROM_SECONDS

    @property
    def summary(self) -> str:
        """A one-line summary: "✓ pulling alpine:3.19 (3.42 MB, 12.3 s)"."""
        seconds = [human_seconds(monotonic() - self._began)] if self.took_long else []
        facts = [human_size(self._bytes)] * bool(self._bytes) + seconds
        return f"✓ {self.title}" + (f" ({', '.join(facts)})" if facts else "")


class _Amount(ProgressColumn):
    """Bytes and speed of a step: "12.3 MB of 45.6 MB, 3.1 MB/s"; empty if it transfers nothing."""

    def render(self, task: Task) -> Text:
        """The column of `task`, whose field `amount` is the total; 0 if unknown, None for none."""
        total = task.fields["amount"]
        if total is None:
            return Text("")
        of = f" of {human_size(total)}" if total else ""
        speed = f", {human_size(task.speed)}/s" if task.speed else ""
        return Text(f"{human_size(task.completed)}{of}{speed}", style="progress.download")


def die(text: str) -> None:
    """Print the error that ends the run."""
    print(f"error: {printable(text)}", file=sys.stderr, flush=True)
