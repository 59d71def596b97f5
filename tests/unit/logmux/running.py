"""Run image/logmux.lua: once on a file, or on FIFOs as under the supervisor."""

from __future__ import annotations

import fcntl
import os
import re
import select
import shutil
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.logmux.reference import REGION

SCRIPT = Path(__file__).resolve().parents[3] / "image" / "logmux.lua"
LUA = shutil.which("lua5.3") or shutil.which("lua")
TOKEN = "b7c1f0"
MARK = b"\x1e" + TOKEN.encode() + b"\n"
REGIONS = [
    *("us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "sa-east-1"),
    *("eu-west-1", "eu-central-1", "ap-southeast-1", "ap-southeast-2", "ap-northeast-1"),
    "ap-south-1",
]
MIB = 1024 * 1024
LINE_LIMIT = 4 * MIB
READ_BYTES = 64 * 1024
DEADLINE_S = 30.0


def _missing() -> str | None:
    if LUA is None:
        return "no Lua interpreter on PATH"
    probe = 'assert(_VERSION == "Lua 5.3") require "posix.poll" require "posix.fcntl"'
    if subprocess.run([LUA, "-e", probe], capture_output=True, check=False).returncode:
        return "Lua 5.3 with luaposix is not installed"
    return None


needs_lua = pytest.mark.skipif(_missing() is not None, reason=_missing() or "")


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Return when the condition holds; fail on timeout."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.002)


def command(state: Path, *streams: str) -> list[str]:
    """Return the command line for the given streams."""
    return [str(LUA), str(SCRIPT), "--mark", TOKEN, "--state", str(state), *streams]


def mux(tmp_path: Path, data: bytes, own: bool = False) -> list[bytes]:
    """Return logmux's output lines for the bytes of one stream."""
    source = tmp_path / "stream"
    source.write_bytes(data)
    streams = ["--own", f"-={source}"] if own else [f"{REGION}={source}"]
    done = subprocess.run(
        command(tmp_path, *streams), capture_output=True, check=False, timeout=DEADLINE_S
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert not done.stdout or done.stdout.endswith(b"\n")
    return done.stdout.split(b"\n")[:-1]


def queued(fd: int) -> int:
    """Return how many bytes a pipe holds."""
    return int(struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"\0" * 4))[0])


def process_state(pid: int) -> str:
    """Return the letter of the process's state."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def is_in_state(pid: int, state: str) -> bool:
    """Return whether the process is in the state with that letter."""
    return process_state(pid) == state


class Supervisor:
    """Holds the FIFOs and the stdout pipe, and runs logmux on them."""

    def __init__(self, directory: Path, names: list[str]) -> None:
        """Create a FIFO for each name and open it as the supervisor does."""
        self.state = directory
        self.streams = []
        self.fifos = []
        for number, name in enumerate(names):
            path = directory / f"fifo-{number}"
            os.mkfifo(path)
            self.fifos.append(os.open(path, os.O_RDWR | os.O_NONBLOCK))
            self.streams.append(f"{name}={path}")
        self.reader, self.stdout = os.pipe()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        """Start or restart logmux."""
        self.process = subprocess.Popen(
            command(self.state, *self.streams), stdout=self.stdout, stderr=subprocess.PIPE
        )
        return self.process

    def write(self, data: bytes, fifo: int = 0) -> None:
        """Write all the data, as fast as it is read."""
        left = memoryview(data)
        while left:
            select.select([], [self.fifos[fifo]], [], DEADLINE_S)
            left = left[os.write(self.fifos[fifo], left) :]

    def read_lines(self, count: int) -> list[bytes]:
        """Return the next lines; there must be no others."""
        data = b""
        while data.count(b"\n") < count:
            assert select.select([self.reader], [], [], DEADLINE_S)[0], f"only got {data!r}"
            data += os.read(self.reader, READ_BYTES)
        assert data.count(b"\n") == count and data.endswith(b"\n")
        return data.split(b"\n")[:-1]

    def kill(self) -> None:
        """Kill logmux with SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.reap()

    def reap(self) -> int:
        """Wait for logmux to exit and return its exit status."""
        assert self.process is not None
        _, errors = self.process.communicate(timeout=DEADLINE_S)
        assert errors == b""
        return self.process.returncode

    def end(self) -> bytes:
        """End every stream; return what logmux still writes until it exits cleanly."""
        wait_until(self._is_open, "logmux to open the FIFOs")
        self.close_fifos()
        rest: list[bytes] = []
        os.set_blocking(self.reader, True)
        drain = threading.Thread(target=lambda: rest.append(self._read_to_end()))
        drain.start()
        status = self.reap()
        os.close(self.stdout)
        self.stdout = -1
        drain.join(DEADLINE_S)
        assert status == 0
        return rest[0]

    def _is_open(self) -> bool:
        """Return whether logmux has every FIFO open, so that closing them here loses nothing."""
        assert self.process is not None
        try:
            opened = {os.stat(fd).st_ino for fd in Path(f"/proc/{self.process.pid}/fd").iterdir()}
        except FileNotFoundError:
            return False
        needed = self.fifos[: len(self.streams)]
        return opened.issuperset(os.fstat(fifo).st_ino for fifo in needed)

    def close_fifos(self) -> None:
        """Close the FIFOs, which ends the streams."""
        while self.fifos:
            os.close(self.fifos.pop())

    def _read_to_end(self) -> bytes:
        chunks = []
        while chunk := os.read(self.reader, READ_BYTES):
            chunks.append(chunk)
        return b"".join(chunks)

    def clean_up(self) -> None:
        """Stop everything, whatever the test's outcome."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
        self.close_fifos()
        for fd in (self.reader, self.stdout):
            if fd >= 0:
                os.close(fd)


def journal_records(state: Path) -> list[tuple[str, int, int, bytes]]:
    """Return the journal's complete records."""
    path = state / "logmux.journal"
    data, pos, records = path.read_bytes() if path.exists() else b"", 0, []
    while head := re.compile(rb"([a-z]+) (\d+) (\d+) (\d+)\n").match(data, pos):
        pos = head.end() + int(head[4])
        if pos > len(data):
            break
        payload = data[head.end() : pos]
        records.append((head[1].decode(), int(head[2]), int(head[3]), payload))
    return records


def wait_until_read(supervisor: Supervisor, total: int) -> None:
    """Return when the journal has all bytes of the streams."""

    def is_read() -> bool:
        records = journal_records(supervisor.state)
        return total == sum(
            second if kind == "count" else len(payload) if kind == "read" else 0
            for kind, _, second, payload in records
        )

    wait_until(is_read, "the journal to have all")
