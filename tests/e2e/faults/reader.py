"""The container's stdout as a FIFO, with a reader that may be slow, or gone."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

DIRECTORY = "/stdout"  # in the container
ENTRYPOINT = ["bash", "-c", f"exec /opt/finfocus/entrypoint.sh >{DIRECTORY}/fifo 2>&1"]
CHUNK = 1 << 16
LOOK_SECONDS = 0.005


class Reader:
    """Gives every line to `take`; begins to read at once."""

    def __init__(self, directory: Path, take: Callable[[bytes], None]) -> None:
        self._take = take
        self._fd = os.open(directory / "fifo", os.O_RDONLY | os.O_NONBLOCK)
        self._rest = b""
        self._reads = threading.Event()
        self._reads.set()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def pause(self) -> None:
        """Read nothing from now on."""
        self._reads.clear()

    def resume(self) -> None:
        """Read again."""
        self._reads.set()

    def close(self) -> None:
        """Read what is there, unless paused, and close: nobody will read any more."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._thread.join()
        with suppress(OSError):
            os.close(self._fd)

    def _run(self) -> None:
        while not self._closed.wait(LOOK_SECONDS):
            self._read_all()
        self._read_all()

    def _read_all(self) -> None:
        while self._reads.is_set() and self._read():
            pass

    def _read(self) -> bool:
        try:
            chunk = os.read(self._fd, CHUNK)
        except BlockingIOError:
            return False
        *complete, self._rest = (self._rest + chunk).split(b"\n")
        for line in complete:
            self._take(line)
        return chunk != b""


def make_fifo(directory: Path) -> dict[str, object]:
    """Makes the FIFO; returns what docker-py needs to give it to a container."""
    directory.chmod(0o755)
    os.mkfifo(directory / "fifo")
    (directory / "fifo").chmod(0o666)
    volumes = {str(directory): {"bind": DIRECTORY, "mode": "rw"}}
    return {"entrypoint": ENTRYPOINT, "volumes": volumes}
