"""Things of the whole machine that the first user makes and the last one removes."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class SharedUse:
    """Counts the users of one thing by locks that the kernel frees however a process ends.

    `start` is held while the thing is made or removed, `users` is shared by everyone who uses it.
    Who can have `users` alone is the last one. `directory` holds both; it must be the same for
    everybody who may use the thing.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @contextmanager
    def using(self, make: Callable[[], None], remove: Callable[[], object]) -> Iterator[None]:
        """The thing is there for the block's time.

        `make` is called by every user and must accept that the thing is there already; `remove`
        by the last one, and by one whose `make` failed while there was no other.
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
        """Call `remove` unless somebody uses the thing: a killed run may have left it."""
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
