"""Kills regions as soon as they are back, each at its own pace."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import requests

from harness.core.errors import HarnessError

from .world import NAMES, PORT, World

BACK_SECONDS = 20.0  # a region that is not back then will not come
PAUSE = 0.02


class Killers:
    """One thread for each of the regions `names`, for the time of a `with` block."""

    def __init__(self, world: World, names: Sequence[str] = NAMES) -> None:
        self._world = world
        self._names = tuple(names)
        self._stop = threading.Event()
        self._killed_at = dict.fromkeys(names, time.monotonic())
        self._threads = [
            threading.Thread(target=self._run, args=(name,), daemon=True) for name in names
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def restarts(self) -> int:
        """How often the supervisor has seen a region's end."""
        return sum(self._world.ends[name] for name in self._names)

    def await_restarts(self, count: int) -> int:
        """How many restarts there were, once there were `count`; raise when a region stays away."""
        while (done := self.restarts()) < count:
            self._world.container.expect_alive()
            late = [n for n, at in self._killed_at.items() if time.monotonic() - at > BACK_SECONDS]
            if late:
                raise HarnessError(f"not back in {BACK_SECONDS:g} s: {', '.join(late)}")
            self._stop.wait(PAUSE)
        return done

    def await_all_up(self) -> None:
        """Return when every region answers again; raise when one does not."""
        missing = self._world.traffic.await_all_up(BACK_SECONDS, self._world.ending)
        if missing:
            raise HarnessError(f"not back: {', '.join(missing)}")

    def _run(self, name: str) -> None:
        killed = 0
        with requests.Session() as session:
            while not self._stop.wait(PAUSE):
                pid = self._pid(session, name)
                # From within: a process started inside for every kill would be most of the load.
                if pid not in (0, killed) and self._order(session, name):
                    killed = pid
                    self._killed_at[name] = time.monotonic()

    def _pid(self, session: requests.Session, name: str) -> int:
        """The plugin's own process ID, 0 when it does not answer."""
        try:
            url = self._world.container.url(PORT[name], "/standin")
            return int(session.get(url, timeout=2).json()["pid"])
        except (requests.RequestException, ValueError, KeyError):
            return 0

    def _order(self, session: requests.Session, name: str) -> bool:
        try:
            url = self._world.container.url(PORT[name], "/standin/fault?kind=crash&code=SIGKILL")
            return session.post(url, timeout=2).ok
        except requests.RequestException:
            return False
