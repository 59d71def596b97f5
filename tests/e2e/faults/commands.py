"""Runs the harness as its users do, as a command, and stands between it and its engine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import pytest

from harness.core.labels import RUN
from harness.core.stages import BuiltImage
from harness.core.wait import wait_until
from harness.engine.provision import Engine

DEFAULT_SOCKET = "unix:///var/run/docker.sock"


def harness(
    *arguments: str,
    host: str = "",
    prepare: Callable[[], None] | None = None,
    output: IO[bytes] | None = None,
    session: bool = False,
) -> subprocess.Popen[str]:
    """The command, started; what it says goes to `output`, else into pipes.

    With `session` it is in one of its own, as in a terminal of its own.
    """
    environ = {**os.environ, **({"DOCKER_HOST": host} if host else {})}
    return subprocess.Popen(
        [sys.executable, "-m", "harness", *arguments],
        stdout=output or subprocess.PIPE,
        stderr=output or subprocess.PIPE,
        text=True,
        env=environ,
        start_new_session=session,
        preexec_fn=prepare,  # noqa: PLW1509 (no thread of ours holds a lock here)
    )


def ended(process: subprocess.Popen[str], timeout: float = 60) -> tuple[int, str]:
    """Exit code and stderr, which never has a traceback."""
    _, errors = process.communicate(timeout=timeout)
    assert "Traceback" not in errors, errors
    return process.returncode, errors


def ours(engine: Engine, pid: int) -> list[str]:
    """Names of the containers that the harness with process ID `pid` has made."""
    found = engine.client.containers.list(all=True, filters={"label": RUN}, ignore_removed=True)
    owner = "com.finfocus.harness.owner"
    return [str(c.name) for c in found if c.labels.get(owner, "").startswith(f"{pid}.")]


def verifying(
    engine: Engine, image: BuiltImage, directory: Path, host: str = ""
) -> subprocess.Popen[str]:
    """`harness verify` with its first container up."""
    process = harness("verify", image.reference, "--reports", str(directory / "proof"), host=host)
    wait_until(lambda: ours(engine, process.pid), timeout=30, what="the run has a container")
    return process


class Wire:
    """A socket in front of the engine's; it can be slow, stand still, or be cut for good.

    A slow one passes every piece on after `delay` seconds. One that stands still takes what is
    sent and passes nothing on.
    """

    def __init__(self, path: Path, engine: str, delay: float = 0) -> None:
        self._engine = engine
        self._delay = delay
        self._flows = threading.Event()
        self._flows.set()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self._open: list[socket.socket] = []
        self.host = f"unix://{path}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End every connection and take no other."""
        for connection in (self._listener, *self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def stand_still(self) -> None:
        """Pass nothing on from now on."""
        self._flows.clear()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(self._engine)
                self._open += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                self._flows.wait()
                time.sleep(self._delay)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@contextmanager
def wired(engine: Engine, directory: Path, delay: float = 0) -> Iterator[Wire]:
    """A wire to the engine, if that is on a local socket."""
    host = engine.host or DEFAULT_SOCKET
    if not host.startswith("unix://"):
        pytest.skip("the engine is not on a local socket")
    wire = Wire(directory / "docker.sock", host.removeprefix("unix://"), delay)
    try:
        yield wire
    finally:
        wire.cut()
