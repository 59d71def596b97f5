"""Run the regional binaries without a container ("bare"), on free loopback ports."""

import os
import signal
import socket
import subprocess
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from itertools import repeat
from pathlib import Path

import docker

from harness.core.errors import HarnessError
from harness.core.labels import run_labels
from harness.core.regions import Region
from harness.core.wait import wait_until
from harness.verify.probe import LOOPBACK, PROBE_PAUSE, get_status
from tests.on_host import SERVING

READY_SECONDS = 120.0
_DIRECTORY = "/opt/finfocus/bin"


def copy_binaries(client: docker.DockerClient, reference: str, directory: Path) -> Path:
    """Copy the regional binaries out of image `reference`; return their directory."""
    container = client.containers.create(reference, labels=run_labels())
    try:
        chunks, _ = container.get_archive(_DIRECTORY)
        with tempfile.TemporaryFile(dir=directory) as file:
            file.writelines(chunks)
            file.seek(0)
            with tarfile.open(fileobj=file) as archive:
                archive.extractall(directory, filter="data")
    finally:
        container.remove(force=True)
    return directory / "bin"


class BareRegions:
    """Processes of all regions, started `at_once` at a time (0: all); times are in seconds."""

    def __init__(
        self, commands: Mapping[int, Sequence[str]], environ: Mapping[str, str], at_once: int
    ) -> None:
        self._commands = commands  # by port
        self._environ = environ
        self._slots = threading.Semaphore(at_once or len(commands))
        self._processes: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()
        self._began = time.monotonic()

    def first_answers(self, *, pause: float = PROBE_PAUSE) -> list[float]:
        """Start them; return the seconds from the first start to each first response.

        `pause` is the number of seconds between requests to one region.
        """
        with ThreadPoolExecutor(len(self._commands)) as pool:
            answers = pool.map(self._run, self._commands, repeat(pause))
            return [at - self._began for at in answers]

    def _run(self, port: int, pause: float) -> float:
        with self._slots:
            with self._lock:
                self._processes.append(
                    subprocess.Popen(
                        self._commands[port],
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                        env={**self._environ, "FINFOCUS_PLUGIN_PORT": str(port)},
                    )
                )
            return _first_answer(port, LOOPBACK, pause)

    @property
    def pids(self) -> list[int]:
        """Their process IDs."""
        return [process.pid for process in self._processes]

    def stop(self) -> float:
        """Send SIGTERM to all; return the seconds until the last one has exited."""
        sent = time.monotonic()
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            process.wait(30)
        return time.monotonic() - sent

    def kill(self) -> None:
        """Kill those that still run."""
        for process in self._processes:
            process.kill()
            process.wait()


def first_answers(
    ports: Sequence[int], host: str = LOOPBACK, *, pause: float = PROBE_PAUSE
) -> list[float]:
    """Return when each plugin on `ports` first responded, as `time.monotonic()`.

    `pause` is the number of seconds between requests to one plugin.
    """
    with ThreadPoolExecutor(len(ports)) as pool:
        return list(pool.map(_first_answer, ports, repeat(host), repeat(pause)))


def _first_answer(port: int, host: str, pause: float) -> float:
    wait_until(
        lambda: get_status(port, "/healthz", host) == 200,
        timeout=READY_SECONDS,
        interval=pause,
        what=f"a plugin responds on {host}:{port}",
    )
    return time.monotonic()


@contextmanager
def bare_regions(
    directory: Path, regions: Sequence[Region], environ: Mapping[str, str], *, at_once: int = 0
) -> Iterator[BareRegions]:
    """Yield the binaries in `directory`, ready to start; kill them after the block."""
    ports = free_ports(len(regions))
    commands = {
        port: [str(directory / region.binary), "--port", str(port)]
        for port, region in zip(ports, regions, strict=True)
    }
    running = BareRegions(commands, {**os.environ, **SERVING, **environ}, at_once)
    try:
        yield running
    finally:
        running.kill()


def free_ports(count: int) -> list[int]:
    """Return loopback ports that are currently free."""
    with ExitStack() as stack:
        found = [
            stack.enter_context(closing(socket.create_server(("127.0.0.1", 0))))
            for _ in range(count)
        ]
        ports = [int(server.getsockname()[1]) for server in found]
    if len(set(ports)) != count:
        raise HarnessError("not enough free ports on this machine: stop programs that use them")
    return ports
