"""The image's shell, Lua and proxy parts on the host: the whole container without a container."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from harness.logs import LogLine, judge
from harness.model import Architecture
from harness.regions import IMAGE_DIRECTORY, Region
from harness.stand_ins.release import build_plugin
from harness.verify.watch import get_status
from harness.wait import wait_until

VERSION = "v0.1.5"
PLUGIN_OFFSET = 10000
NAMES = ("us-east-1", "eu-west-1", "sa-east-1")
DEADLINE = 20
REQUIRED_PROGRAMS = ("bash", "haproxy", "lua5.3", "go")

missing = [name for name in REQUIRED_PROGRAMS if not shutil.which(name)]
lua_libraries = (
    "lua5.3" not in missing
    and subprocess.run(
        ["lua5.3", "-e", 'require "posix.poll" require "cjson"'], check=False, capture_output=True
    ).returncode
    == 0
)


def why_not() -> str:
    """What this host lacks to run the parts; empty when it has all."""
    lacking = missing or ([] if lua_libraries else ["lua-posix or lua-cjson"])
    return f"{', '.join(lacking)} is not installed" if lacking else ""


def _free(port: int) -> bool:
    with suppress(OSError), closing(socket.create_server(("127.0.0.1", port))):
        return True
    return False


def free_public_ports(count: int) -> list[int]:
    """Ports that are free and whose plugin port is, below those the kernel hands out."""
    found = []
    for port in range(11000 + time.monotonic_ns() % 9000, 22000):
        if _free(port) and _free(port + PLUGIN_OFFSET):
            found.append(port)
        if len(found) == count:
            return found
    raise AssertionError("this host has too few free ports")


class OnHost:
    """A running entrypoint with its children."""

    def __init__(self, directory: Path, environ: Mapping[str, str]) -> None:
        ports = free_public_ports(len(NAMES) + 1)
        self.metrics_port = ports.pop()
        self.regions = tuple(
            Region(name=name, port=port) for name, port in zip(NAMES, ports, strict=True)
        )
        home = Path(shutil.copytree(IMAGE_DIRECTORY, directory / "finfocus"))
        rows = "".join(f"{region.name} {region.port}\n" for region in self.regions)
        (home / "regions").write_text(rows, encoding="utf-8")
        settings = home / "lib" / "settings.sh"
        text = settings.read_text(encoding="utf-8")
        fixed = "FF_METRICS_PORT_DEFAULT=9090"
        assert fixed in text
        changed = text.replace(fixed, f"FF_METRICS_PORT_DEFAULT={self.metrics_port}")
        settings.write_text(changed, encoding="utf-8")
        (home / "bin").mkdir()
        program = build_plugin(VERSION, Architecture.AMD64)
        for region in self.regions:
            shutil.copy(program, home / "bin" / region.binary)
            (home / "bin" / region.binary).chmod(0o755)
        self.output = directory / "output"
        base = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "FINFOCUS_PLUGIN_WEB_ENABLED": "true",
            "FINFOCUS_PLUGIN_HEALTH_ENDPOINT": "true",
            "FINFOCUS_IMAGE_VERSION": VERSION,
        }
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [str(home / "entrypoint.sh")],
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                env={**base, **environ},
            )

    def port(self, name: str) -> int:
        """Public port of a region."""
        return next(region.port for region in self.regions if region.name == name)

    def await_ready(self) -> None:
        """Return when every region is ready."""
        wait_until(
            lambda: (
                get_status(self.metrics_port, "/readyz") == 200 or self.process.poll() is not None
            ),
            timeout=DEADLINE,
            what="all regions are ready",
            explain=self.text,
        )
        assert self.process.poll() is None, self.text()

    def text(self) -> str:
        """Everything that was written so far."""
        return self.output.read_text(encoding="utf-8", errors="replace")

    def lines(self) -> list[LogLine]:
        """Every line so far, judged."""
        names = frozenset(NAMES)
        return [judge(raw, 0, names) for raw in self.output.read_bytes().splitlines()]

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE)


@contextmanager
def on_host(directory: Path, **environ: str) -> Iterator[OnHost]:
    """The parts, started; stopped at the end if they still run."""
    running = OnHost(directory, environ)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            try:
                running.stop()
            except subprocess.TimeoutExpired:
                running.process.kill()
                running.process.wait()
