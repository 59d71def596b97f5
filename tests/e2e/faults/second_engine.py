"""An engine that a test may kill: it has data, a socket and a bridge of its own."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import docker

from harness.core.errors import HarnessError
from harness.core.process import run
from harness.engine.provision import Engine, PrivateEngine

SUBNET = "10.213.{}.1/24"


class SecondEngine:
    """A dockerd beside the one of the tests; `kill` ends it without a word."""

    def __init__(self, directory: Path, bridge: str) -> None:
        self.directory = directory
        self._private = PrivateEngine(directory, bridge)
        self.host = self._private.host
        self._runs = ExitStack()
        self.start()

    def start(self) -> None:
        """Start it on the data that is there."""
        self._runs.enter_context(self._private.running())

    def kill(self) -> None:
        """kill -9 of dockerd; what it has started lives on."""
        pid = self._private._pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)  # a child of this process, which alone can reap it

    def stop(self) -> None:
        """Stop it, whatever state it is in, and all that it has started."""
        self._runs.close()
        for pid in processes_with(str(self.directory)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._private._unmount()

    @contextmanager
    def client(self) -> Iterator[Engine]:
        """The engine, for the time of the block."""
        client = docker.DockerClient(base_url=self.host, timeout=60)
        try:
            yield Engine(client=client, host=self.host, provisioned=False)
        finally:
            client.close()

    def load(self, engine: Engine, *references: str) -> None:
        """Copy images from `engine`."""
        with self.client() as here:
            load: Any = here.client.images.load  # takes what `save` gives, which its type denies
            for reference in references:
                load(engine.client.images.get(reference).save(named=True))


def processes_with(words: str) -> list[int]:
    """Processes of the machine whose command line or control group has `words`."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            text = directory.joinpath("cmdline").read_bytes().replace(b"\0", b" ")
            text += directory.joinpath("cgroup").read_bytes()
            if words.encode() in text and int(directory.name) != os.getpid():
                found.append(int(directory.name))
    return found


@contextmanager
def second_engine(directory: Path) -> Iterator[SecondEngine]:
    """An engine in `directory`, which has nothing left when the block ends, however that is."""
    bridge = f"br-ff{os.getpid()}"
    run(["ip", "link", "add", bridge, "type", "bridge"])
    try:
        run(["ip", "address", "add", SUBNET.format(os.getpid() % 250), "dev", bridge])
        run(["ip", "link", "set", bridge, "up"])
        second = SecondEngine(directory, bridge)
        try:
            yield second
        finally:
            second.stop()
    finally:
        with suppress(HarnessError):
            run(["ip", "link", "delete", bridge])
        shutil.rmtree(directory, ignore_errors=True)
