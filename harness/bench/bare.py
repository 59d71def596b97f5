"""The same regional binaries without a container: started at once, on free loopback ports."""

import io
import os
import signal
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from itertools import repeat
from pathlib import Path

import docker

from harness.errors import HarnessError
from harness.labels import run_labels
from harness.on_host import SERVING
from harness.regions import Region
from harness.verify.probe import LOOPBACK, PROBE_PAUSE, get_status
from harness.wait import wait_until

READY_SECONDS = 120.0
_DIRECTORY = "/opt/finfocus/bin"


def copy_binaries(client: docker.DockerClient, reference: str, directory: Path) -> Path:
    """Copy the regional binaries of image `reference`; returns the directory they are in."""
    container = client.containers.create(reference, labels=run_labels())
    try:
        chunks, _ = container.get_archive(_DIRECTORY)
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
            archive.extractall(directory, filter="data")
    finally:
        container.remove(force=True)
    return directory / "bin"


class BareRegions:
    """Processes of all regions; times are seconds."""

    def __init__(self, processes: Mapping[int, subprocess.Popen[bytes]], began: float) -> None:
        self._processes = processes  # by port
        self._began = began

    def await_ready(self) -> float:
        """Seconds from the start of the first process to the answer of the last."""
        return await_answers(list(self._processes)) - self._began

    def stop(self) -> float:
        """Seconds from SIGTERM to all until the last has ended."""
        sent = time.monotonic()
        for process in self._processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self._processes.values():
            process.wait(30)
        return time.monotonic() - sent


def await_answers(ports: Sequence[int], host: str = LOOPBACK) -> float:
    """When the last of the plugins on `ports` answered first, `time.monotonic()`."""
    with ThreadPoolExecutor(len(ports)) as pool:
        return max(pool.map(_first_answer, ports, repeat(host)))


def _first_answer(port: int, host: str) -> float:
    wait_until(
        lambda: get_status(port, "/healthz", host) == 200,  # noqa: PLR2004
        timeout=READY_SECONDS,
        interval=PROBE_PAUSE,
        what=f"a plugin answers on {host}:{port}",
    )
    return time.monotonic()


@contextmanager
def bare_regions(
    directory: Path, regions: Sequence[Region], environ: Mapping[str, str]
) -> Iterator[BareRegions]:
    """All binaries of `directory`, started at once; killed at the end if they still run."""
    ports = free_ports(len(regions))
    environment = {**os.environ, **SERVING, **environ}
    with ExitStack() as stack:
        began = time.monotonic()
        processes = {}
        for port, region in zip(ports, regions, strict=True):
            process = subprocess.Popen(
                [str(directory / region.binary), "--port", str(port)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            processes[port] = process
        yield BareRegions(processes, began)


def free_ports(count: int) -> list[int]:
    """Loopback ports that nothing listens on right now."""
    with ExitStack() as stack:
        found = [
            stack.enter_context(closing(socket.create_server(("127.0.0.1", 0))))
            for _ in range(count)
        ]
        ports = [int(server.getsockname()[1]) for server in found]
    if len(set(ports)) != count:
        raise HarnessError("this machine has too few free ports: end what uses them")
    return ports
