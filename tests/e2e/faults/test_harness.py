"""Faults of the harness's surroundings: what it says, its exit code, and what it leaves."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from harness.container import Options, RunningContainer, created, running
from harness.engine import Engine
from harness.errors import ContainerDiedError, HarnessError
from harness.labels import RUN
from harness.model import BuiltImage
from harness.verify import inside
from harness.wait import wait_until
from tests.e2e.conftest import Variant

from .world import NAMES

DEFAULT_SOCKET = "unix:///var/run/docker.sock"


def harness(
    *arguments: str, host: str = "", prepare: Callable[[], None] | None = None
) -> subprocess.Popen[str]:
    """The command, started."""
    environ = {**os.environ, **({"DOCKER_HOST": host} if host else {})}
    return subprocess.Popen(
        [sys.executable, "-m", "harness", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
        preexec_fn=prepare,  # noqa: PLW1509 (no thread of ours holds a lock here)
    )


def ended(process: subprocess.Popen[str], timeout: float = 60) -> tuple[int, str]:
    """Exit code and stderr, which never has a traceback."""
    _, errors = process.communicate(timeout=timeout)
    assert "Traceback" not in errors
    return process.returncode, errors


def ours(engine: Engine, process: subprocess.Popen[str]) -> list[str]:
    """Names of the containers that `process` has made."""
    found = engine.client.containers.list(all=True, filters={"label": RUN}, ignore_removed=True)
    owner = "com.finfocus.harness.owner"
    return [str(c.name) for c in found if c.labels.get(owner, "").startswith(f"{process.pid}.")]


def verifying(
    engine: Engine, image: BuiltImage, directory: Path, host: str = ""
) -> subprocess.Popen[str]:
    """`harness verify` with its first container up."""
    process = harness("verify", image.reference, "--reports", str(directory / "proof"), host=host)
    wait_until(lambda: ours(engine, process), timeout=30, what="the run has a container")
    return process


class Wire:
    """A socket in front of the engine's; it can be cut, as when the engine is killed."""

    def __init__(self, path: Path, engine: str) -> None:
        self._engine = engine
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

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(self._engine)
                self._open += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=_pump, args=(one, other), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@contextmanager
def cuttable(engine: Engine, directory: Path) -> Iterator[Wire]:
    """A wire to the engine, if that is on a local socket."""
    host = engine.host or DEFAULT_SOCKET
    if not host.startswith("unix://"):
        pytest.skip("the engine is not on a local socket")
    wire = Wire(directory / "docker.sock", host.removeprefix("unix://"))
    try:
        yield wire
    finally:
        wire.cut()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_interrupted_run_leaves_nothing(
    engine: Engine, image: BuiltImage, tmp_path: Path, number: signal.Signals
) -> None:
    """Ctrl+C while a container runs: one word, code 130, and no container."""
    process = verifying(engine, image, tmp_path)
    process.send_signal(number)
    code, words = ended(process)
    assert (code, words.splitlines()[-1]) == (130, "error: interrupted")
    assert ours(engine, process) == []


@pytest.mark.parametrize("words", [1, 2], ids=["first-word", "second-word"])
def test_build_that_is_interrupted_leaves_nothing(
    engine: Engine, image: BuiltImage, tmp_path: Path, words: int
) -> None:
    """Ctrl+C while the harness looks for what it builds from, and while it builds."""
    process = harness("build", image.version, "--output", str(tmp_path))
    assert process.stderr is not None
    for _ in range(words):
        process.stderr.readline()
    process.send_signal(signal.SIGINT)
    code, rest = ended(process)
    assert (code, rest.splitlines()[-1]) == (130, "error: interrupted")
    assert ours(engine, process) == []
    assert list(tmp_path.iterdir()) == []


def test_killed_run_is_swept(engine: Engine, image: BuiltImage, tmp_path: Path) -> None:
    """After kill -9 `harness sweep` removes what the run left, and nothing else."""
    other = created(engine.client, image.reference, NAMES, Options())
    with other as kept:
        process = verifying(engine, image, tmp_path)
        process.kill()
        process.communicate()
        assert ours(engine, process) != []
        assert ended(harness("sweep"))[0] == 0
        assert ours(engine, process) == []
        kept.container.reload()  # of this process, which lives


def test_engine_that_dies_is_told(engine: Engine, image: BuiltImage, tmp_path: Path) -> None:
    """The engine goes away within a run: a sentence, not code 0; a later sweep removes the rest."""
    with cuttable(engine, tmp_path) as wire:
        process = verifying(engine, image, tmp_path, wire.host)
        wire.cut()
        code, words = ended(process, 120)
    assert code in (1, 3), words
    assert words.splitlines()[-1].startswith("error: ") or "not proven" in words.lower()
    assert ended(harness("sweep"))[0] == 0
    assert ours(engine, process) == []


def test_engine_that_is_not_there_is_told(tmp_path: Path) -> None:
    """No engine at DOCKER_HOST: code 3 and what to do."""
    code, words = ended(harness("verify", "x", host=f"unix://{tmp_path}/none.sock"))
    assert code == 3
    assert "start it or unset DOCKER_HOST" in words


def test_engine_that_never_answers_is_told(tmp_path: Path) -> None:
    """A socket that accepts and says nothing: code 3 within half a minute."""
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent.sock"))
        silent.listen(8)
        began = time.monotonic()
        code, words = ended(harness("verify", "x", host=f"unix://{tmp_path}/silent.sock"), 40)
    assert code == 3, words
    assert time.monotonic() - began < 30


def test_full_disk_is_told(engine: Engine, image: BuiltImage, tmp_path: Path) -> None:
    """No byte can be written: code 3 and the file, no traceback."""

    def no_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    output = str(tmp_path / "out")
    code, words = ended(harness("build", image.version, "--output", output, prepare=no_room), 120)
    assert code == 3, words
    assert "is there room" in words


def test_two_builds_at_once_make_the_same_image(
    engine: Engine, image: BuiltImage, tmp_path: Path
) -> None:
    """Two runs on one machine do not disturb each other."""
    runs = [
        harness("-q", "build", image.version, "--output", str(tmp_path / name)) for name in "ab"
    ]
    answers = [run.communicate(timeout=300)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert len({answer.split()[1] for answer in answers}) == 1


HOSTILE = {
    "endless-log": 'ENTRYPOINT ["bash", "-c", "while :; do echo xxxxxxxxxxxxxxx; done"]\n',
    "deaf": 'ENTRYPOINT ["bash", "-c", "trap \'\' TERM INT HUP; while :; do sleep 1; done"]\n',
    "fork-bomb": 'ENTRYPOINT ["bash", "-c", "b() { b | b & }; b; sleep 60"]\n',
    "huge-health": (
        'ENTRYPOINT ["sleep", "60"]\nHEALTHCHECK --interval=1s CMD head -c 9000000 /dev/zero\n'
    ),
}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_hostile_image_is_removed(variant: Variant, tmp_path: Path, name: str) -> None:
    """An image that floods, ignores every signal or multiplies is bounded, and gone at the end."""
    reference = variant.derived(tmp_path, name, HOSTILE[name])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    options = Options(extra={"pids_limit": 64, "mem_limit": "256m"})
    with running(variant.engine.client, reference, NAMES, options) as container:
        container.dead.wait(2)
        container.signal("SIGTERM")
        assert len("\n".join(container.tail_text())) < 10_000
        _described(container)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def _described(container: RunningContainer) -> None:
    container.container.reload()
    health = container.container.attrs["State"].get("Health") or {}
    assert len(str(health)) < 100_000


def test_image_that_cannot_start_is_described(variant: Variant, tmp_path: Path) -> None:
    """A user that does not exist: the engine's own words, as an error of the harness."""
    reference = variant.derived(tmp_path, "no-user", "USER nobody-here\n")
    with (
        pytest.raises(ContainerDiedError, match="nobody-here"),
        running(variant.engine.client, reference, NAMES, Options()),
    ):
        pass


def test_image_without_a_shell_is_described(variant: Variant, tmp_path: Path) -> None:
    """No shell to look through: an error that says so, not a traceback."""
    dockerfile = 'USER 0\nRUN rm -f /bin/sh /usr/bin/sh\nENTRYPOINT ["sleep", "60"]\n'
    reference = variant.derived(tmp_path, "no-shell", dockerfile)
    with (
        running(variant.engine.client, reference, NAMES, Options()) as container,
        pytest.raises(HarnessError, match="sh"),
    ):
        inside.processes(container)
