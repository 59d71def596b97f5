"""Machine-wide resources that the first user creates and the last one removes."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class SharedUse:
    """Counts the users of a resource with locks that the kernel releases when a process exits.

    `start` is held while the resource is created or removed; all users hold `users` shared. A user
    that can lock `users` exclusively is the last one. `directory` holds both locks and must be the
    same for all users.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @contextmanager
    def using(self, make: Callable[[], None], remove: Callable[[], object]) -> Iterator[None]:
        """Provide the resource for the duration of the block.

        Every user calls `make`, which must accept an existing resource. The last user calls
        `remove`, and so does a user whose `make` failed while there was no other.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "users.lock").open("w") as users:
            with self._starting():
                fcntl.flock(users, fcntl.LOCK_SH)
                try:
                    make()
                except BaseException:
                    _as_the_only_one(users.fileno(), remove)
                    raise
            try:
                yield
            finally:
                with self._starting():
                    _as_the_only_one(users.fileno(), remove)

    def sweep(self, remove: Callable[[], object]) -> None:
        """Call `remove` unless the resource is in use: an interrupted run may have left it."""
        if not self.directory.exists():
            return
        with self._starting(), (self.directory / "users.lock").open("w") as users:
            _as_the_only_one(users.fileno(), remove)

    @contextmanager
    def _starting(self) -> Iterator[None]:
        with (self.directory / "start.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _as_the_only_one(lock: int, remove: Callable[[], object]) -> None:
    with suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove()
