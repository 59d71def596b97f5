"""Temporary directories named after their owner, so that interrupted runs can be cleaned up."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.core.labels import own_identity, process_identity

SHARED_MEMORY = Path("/dev/shm")
_NAME = re.compile(r"finfocus-[a-z-]+-(?P<owner>(?P<pid>\d+)\.[0-9a-f.-]+)@")


@contextmanager
def temporary_directory(purpose: str, *, parent: Path | None = None) -> Iterator[Path]:
    """A directory for the duration of the block; `purpose` is part of its name, for people.

    `parent` is the system's temporary directory or `SHARED_MEMORY`, the places that
    `sweep_directories` searches.
    """
    prefix = f"finfocus-{purpose}-{own_identity()}@"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent) as name:
        yield Path(name)


def sweep_directories() -> list[str]:
    """Remove this user's directories whose process has exited; return their names."""
    removed = []
    for parent in {Path(tempfile.gettempdir()), SHARED_MEMORY}:
        for path in parent.glob("finfocus-*@*"):
            match = _NAME.match(path.name)
            with suppress(OSError):
                if (
                    match
                    and path.lstat().st_uid == os.geteuid()
                    and process_identity(int(match["pid"])) != match["owner"]
                ):
                    shutil.rmtree(path)
                    removed.append(path.name)
    return sorted(removed)
