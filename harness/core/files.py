"""Atomic file writes, and directories whose old content is removed only if it is the harness's."""

import os
import shutil
from pathlib import Path
from tempfile import NamedTemporaryFile

from harness.core.errors import UsageError

OWN = ".finfocus-image-harness"
"""An empty file that marks a directory as written by the harness."""


def check_replaceable(directory: Path, *, ours: bool = False) -> None:
    """Raise `UsageError` if `directory` contains something that the harness did not write.

    A directory that is absent, empty or marked with `OWN` can be replaced; so can one that the
    caller knows to be `ours`.
    """
    if ours or (directory / OWN).is_file():
        return
    if directory.is_dir() and not any(directory.iterdir()):
        return
    if directory.exists() or directory.is_symlink():
        raise UsageError(
            f"{directory} is not empty, and the harness did not write it: nothing was removed."
            " Choose an empty or new directory."
        )


def replace_directory(directory: Path, *, ours: bool = False) -> None:
    """Make `directory` empty except for the mark `OWN`; see `check_replaceable`."""
    check_replaceable(directory, ours=ours)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / OWN).touch()
    for path in directory.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != OWN:
            path.unlink()


def write_whole(path: Path, text: str) -> None:
    """Replace the file at `path` atomically: readers see the old or the new text, never a part."""
    with NamedTemporaryFile(
        "w", encoding="utf-8", newline="\n", dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as file:
        temporary = Path(file.name)
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            # Temporary files are private, but other users' tools must read the reports.
            temporary.chmod(0o644)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
