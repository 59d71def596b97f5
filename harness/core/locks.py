"""Locks between runs on one machine; the kernel releases them when their process exits."""

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from harness.core.cache import cache_directory


@contextmanager
def exclusive(name: str, *, taken: Exception | None = None) -> Iterator[None]:
    """Hold the lock `name`; if another run has it, wait, or raise `taken` if given."""
    directory = cache_directory() / "locks"
    directory.mkdir(exist_ok=True)
    path = directory / hashlib.sha256(name.encode()).hexdigest()[:24]
    with path.open("w", encoding="utf-8") as file:
        if taken is None:
            fcntl.flock(file, fcntl.LOCK_EX)
        else:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise taken from None
        yield
