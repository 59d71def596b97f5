"""Progress of byte transfers: amount, speed and time left."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from harness.core.console import Step, interactive, say, stderr
from harness.core.text import human_seconds, human_size

TOLD_EVERY_SECONDS = 10
WATCHED_EVERY_SECONDS = 0.2


class Transfer:
    """A transfer in progress; call it with the number of bytes transferred."""

    def __init__(self, title: str, total: int) -> None:
        self.title = title
        self.total = total
        self.done = 0
        self.skipped = 0
        self._began = self._told = time.monotonic()
        self._bar: Progress | None = None

    def __call__(self, count: int) -> None:
        """Add `count` transferred bytes; negative if they must be sent again."""
        self.done += count
        if self._bar:
            self._bar.update(self._bar.task_ids[0], completed=self.done + self.skipped)
        elif time.monotonic() - self._told >= TOLD_EVERY_SECONDS:
            self._told = time.monotonic()
            say(f"  {self._share()} % of {human_size(self.total)}, {self.speed}")

    def skip(self, count: int) -> None:
        """Add `count` bytes that need no transfer."""
        self.skipped += count
        self(0)

    @property
    def speed(self) -> str:
        """Mean speed for people: "85.2 MB/s"."""
        return f"{human_size(self.done / max(time.monotonic() - self._began, 0.001))}/s"

    def _share(self) -> int:
        return 100 * (self.done + self.skipped) // max(self.total, 1)

    @property
    def summary(self) -> str:
        """A one-line summary."""
        seconds = human_seconds(time.monotonic() - self._began)
        already = f" ({human_size(self.skipped)} already present)" if self.skipped else ""
        return f"✓ {self.title}: {human_size(self.done)} in {seconds}, {self.speed}{already}"


@contextmanager
def transfer(title: str, total: int) -> Iterator[Transfer]:
    """Show the progress of `total` bytes: a bar on a terminal, else a line every few seconds."""
    current = Transfer(title, total)
    if interactive():
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=stderr, transient=True) as bar:
            bar.add_task(title, total=total or None)
            current._bar = bar  # noqa: SLF001 (same module)
            yield current
    else:
        say(f"• {title} ({human_size(total)})")
        yield current
    say(current.summary)


@contextmanager
def watched_size(directory: Path, progress: Step) -> Iterator[None]:
    """Show the largest size that `directory` reaches during the block as the bytes of `progress`.

    For tools that report no progress. `directory` may not exist yet.
    """
    done = threading.Event()

    def watch() -> None:
        largest = 0
        while not done.wait(WATCHED_EVERY_SECONDS):
            if (size := _size_of(directory)) > largest:
                largest = size
                progress.transferred(largest)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _size_of(directory: Path) -> int:
    size = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            with suppress(OSError):  # deleted in the meantime
                size += os.lstat(f"{parent}/{name}").st_size
    return size
