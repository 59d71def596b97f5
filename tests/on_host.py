"""The image's shell, Lua and proxy parts on the host: the whole container without a container."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from socket import create_server

from harness.core.errors import HarnessError
from harness.core.regions import IMAGE_DIRECTORY, PLUGIN_PORT_OFFSET, Region
from harness.core.wait import wait_until
from harness.verify.probe import get_status

SERVING = {"FINFOCUS_PLUGIN_WEB_ENABLED": "true", "FINFOCUS_PLUGIN_HEALTH_ENDPOINT": "true"}
DEADLINE = 60
# The plugins listen above these, still below the ports that the kernel hands out by itself.
_PORTS = range(11000, 22000)
_OK = 200
# The entrypoint, sourced, with a metrics port that is free here.
_START = 'source "$0/entrypoint.sh" && ff_metrics_port=$1 && _main'
_ENTRYPOINT_PATH = "PATH=/usr/local/sbin:"


class OnHost:
    """A running entrypoint with its children; made by `on_host`."""

    def __init__(
        self, home: Path, regions: Sequence[Region], metrics_port: int, environ: Mapping[str, str]
    ) -> None:
        self.regions = tuple(regions)
        self.metrics_port = metrics_port
        self.output = home.parent / "output"
        self.started_at = time.monotonic()
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                ["bash", "-p", "-c", _START, str(home), str(metrics_port)],
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **SERVING, **environ},
            )

    def port(self, name: str) -> int:
        """Public port of a region."""
        return next(region.port for region in self.regions if region.name == name)

    def await_ready(self) -> None:
        """Return when every region is ready; raises `HarnessError` with the log otherwise."""
        wait_until(
            lambda: self._ready() or self.process.poll() is not None,
            timeout=DEADLINE,
            interval=0.02,
            what="all regions on this host are ready",
            explain=self.text,
        )
        if self.process.poll() is not None:
            raise HarnessError(f"the entrypoint ended on this host:\n{self.text()}")

    def _ready(self) -> bool:
        return get_status(self.metrics_port, "/readyz") == _OK

    def text(self) -> str:
        """Everything that was written so far."""
        return self.output.read_text(encoding="utf-8", errors="replace")

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE)


@contextmanager
def on_host(
    directory: Path, binaries: Mapping[str, Path], environ: Mapping[str, str]
) -> Iterator[OnHost]:
    """The parts for the regions of `binaries`, started; stopped at the end if they still run.

    `directory` gets a copy of `image/` with free ports in its table. HAProxy is the one that is
    first on PATH, so that another version can be tried.
    """
    with started(*install(directory, binaries), environ) as running:
        yield running


def install(directory: Path, binaries: Mapping[str, Path]) -> tuple[Path, tuple[Region, ...], int]:
    """Copy `image/` into `directory`; returns the copy, its regions and a free metrics port."""
    *ports, metrics_port = free_public_ports(len(binaries) + 1)
    regions = tuple(Region(name=n, port=p) for n, p in zip(binaries, ports, strict=True))
    home = Path(shutil.copytree(IMAGE_DIRECTORY, directory / "finfocus"))
    rows = "".join(f"{region.name} {region.port}\n" for region in regions)
    (home / "regions").write_text(rows, encoding="utf-8")
    for name in ("entrypoint.sh", "prepare.sh"):
        _prefer_haproxy_on_path(home / name)
    (home / "bin").mkdir()
    for region in regions:
        shutil.copy(binaries[region.name], home / "bin" / region.binary)
        (home / "bin" / region.binary).chmod(0o755)
    return home, regions, metrics_port


@contextmanager
def started(
    home: Path, regions: Sequence[Region], metrics_port: int, environ: Mapping[str, str]
) -> Iterator[OnHost]:
    """What `install` has made, started; stopped at the end if it still runs."""
    running = OnHost(home, regions, metrics_port, environ)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                running.process.wait(DEADLINE)
            running.process.kill()
            running.process.wait()


def _prefer_haproxy_on_path(program: Path) -> None:
    """Put the directory of HAProxy first in the program's PATH, which it sets by itself."""
    found = shutil.which("haproxy")
    if not found:
        return
    text = program.read_text(encoding="utf-8")
    if _ENTRYPOINT_PATH not in text:
        raise HarnessError(f"{program.name} does not set {_ENTRYPOINT_PATH!r}: adapt on_host.py")
    preferred = _ENTRYPOINT_PATH.replace("=", f"={Path(found).parent}:")
    program.write_text(text.replace(_ENTRYPOINT_PATH, preferred), encoding="utf-8")


def free_public_ports(count: int) -> list[int]:
    """Ports that are free, and whose plugin's port is."""
    found = []
    # Runs at the same time begin at different places.
    shift = os.getpid() * 97 % (len(_PORTS) // 2)
    for port in _PORTS[shift:]:
        if _free(port) and _free(port + PLUGIN_PORT_OFFSET):
            found.append(port)
        if len(found) == count:
            return found
    raise HarnessError(f"this host has too few free ports from {_PORTS.start} on")


def _free(port: int) -> bool:
    with suppress(OSError), closing(create_server(("127.0.0.1", port))):
        return True
    return False
