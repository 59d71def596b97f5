"""The container engine: an existing one, or one started while it is needed."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import docker
import requests
from docker.errors import DockerException

from harness.core.cache import cache_directory
from harness.core.console import say, step
from harness.core.errors import EnvironmentMissingError, HarnessError
from harness.core.labels import process_identity
from harness.core.process import ensure_tools, is_root, run
from harness.core.shared_use import SharedUse
from harness.core.wait import wait_until

ANSWER_SECONDS = 15  # a running engine answers a ping within this time, even if busy
START_SECONDS = 60
STOP_SECONDS = 60
_PACKAGES = {"dockerd": "docker.io", "iptables": "iptables"}


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A working engine and how to reach it."""

    client: docker.DockerClient
    host: str  # value for DOCKER_HOST; "" for the default
    provisioned: bool  # started, and therefore stopped, by the harness

    @property
    def architecture(self) -> str:
        """Architecture of the machine that the engine runs on, as Docker names it."""
        machine = str(self.client.info()["Architecture"])
        return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


@contextmanager
def container_engine() -> Iterator[Engine]:
    """A working engine for the duration of the block.

    A reachable engine is used and left unchanged. Otherwise, as root on Debian, one is installed
    and started, and its last user stops it; its data stays in the cache directory.
    Raises `EnvironmentMissingError` with a remedy if neither is possible.
    """
    client = connect()
    if client is not None:
        with _closing(client):
            yield Engine(client=client, host=os.environ.get("DOCKER_HOST", ""), provisioned=False)
        return
    _explain_when_not_possible()
    private = PrivateEngine(cache_directory() / "engine")
    with private.running(), _exported(private.host):
        started = connect()
        if started is None:
            raise EnvironmentMissingError(f"the engine started at {private.host} does not answer")
        with _closing(started):
            yield Engine(client=started, host=private.host, provisioned=True)


def connect() -> docker.DockerClient | None:
    """A client of the engine at DOCKER_HOST or the default socket; None if it does not answer."""
    try:
        with _closing(client := docker.from_env(timeout=ANSWER_SECONDS)):
            client.ping()
        return docker.from_env(timeout=600)
    except (DockerException, requests.RequestException):
        return None


@contextmanager
def _closing(client: docker.DockerClient) -> Iterator[None]:
    try:
        yield
    finally:
        client.close()


@contextmanager
def _exported(host: str) -> Iterator[None]:
    """Set DOCKER_HOST, so that child processes and libraries find the engine."""
    os.environ["DOCKER_HOST"] = host
    try:
        yield
    finally:
        del os.environ["DOCKER_HOST"]


def _explain_when_not_possible() -> None:
    if host := os.environ.get("DOCKER_HOST"):
        raise EnvironmentMissingError(
            f"no container engine answers at DOCKER_HOST={host}. Start it or unset DOCKER_HOST."
        )
    if not is_root():
        raise EnvironmentMissingError(
            "no container engine answers, and only root can start one. Run: sudo apt-get install"
            " docker.io && sudo usermod -aG docker $USER, then log in again"
        )


class PrivateEngine:
    """A dockerd with its own data and sockets, shared by all harness runs of this user.

    The first run starts it and the last one stops it.

    With `bridge` its containers use that bridge, which the caller creates and removes, and it
    changes no firewall rules, so it can run beside another engine.
    """

    def __init__(self, directory: Path, bridge: str = "") -> None:
        self.directory = directory
        self.bridge = bridge
        self.socket = directory / "docker.sock"
        self.log = directory / "dockerd.log"
        self.pid_file = directory / "dockerd.pid"
        self._use = SharedUse(directory)

    @property
    def host(self) -> str:
        """Value for DOCKER_HOST."""
        return f"unix://{self.socket}"

    @contextmanager
    def running(self) -> Iterator[None]:
        """Keep it running for the duration of the block."""
        with self._use.using(self._provide, self._stop):
            yield

    def stop_leftover(self) -> bool:
        """Stop it if it is unused; return whether it was running."""
        stopped: list[bool] = []
        self._use.sweep(lambda: stopped.append(self._stop()))
        return any(stopped)

    def _provide(self) -> None:
        if not self._answers():
            self._start()

    def _answers(self) -> bool:
        if not self.socket.exists():
            return False
        try:
            with _closing(client := docker.DockerClient(base_url=self.host, timeout=5)):
                return bool(client.ping())
        except DockerException:
            return False

    def _start(self) -> None:
        ensure_tools(_PACKAGES, wanted_for="a container engine")
        has_bridge = self.bridge or Path("/sys/class/net/docker0").exists()
        (self.directory / "made-bridge").unlink(missing_ok=True)
        if not has_bridge:
            (self.directory / "made-bridge").touch()
        self._stop()  # it may be running but not answering
        self._end_containerd()
        command = ["dockerd", "--host", self.host, "--data-root", str(self.directory / "data")]
        command += ["--exec-root", str(self.directory / "exec"), "--pidfile", str(self.pid_file)]
        if self.bridge:
            command += ["--bridge", self.bridge, "--iptables=false"]
        with step("starting a container engine"), self.log.open("wb") as log:
            dockerd = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
            wait_until(
                lambda: self._answers() or dockerd.poll() is not None,
                timeout=START_SECONDS,
                what="the container engine answers",
                explain=self._last_words,
            )
        if dockerd.poll() is not None:
            raise EnvironmentMissingError(f"dockerd failed to start:\n{self._last_words()}")

    def _stop(self) -> bool:
        pid = self._pid()
        if pid is None:
            return False
        say("• stopping the container engine")
        os.kill(pid, signal.SIGTERM)
        with suppress(HarnessError):
            wait_until(lambda: not _runs(pid), timeout=STOP_SECONDS, what="dockerd exits")
        if _runs(pid):
            os.kill(pid, signal.SIGKILL)
        self.socket.unlink(missing_ok=True)
        self._unmount()
        if (self.directory / "made-bridge").exists():
            with suppress(HarnessError):
                ensure_tools({"ip": "iproute2"}, wanted_for="removing docker0")
                run(["ip", "link", "delete", "docker0"])
        return True

    def _end_containerd(self) -> None:
        """Kill the containerd of a dockerd that was killed.

        dockerd trusts the process ID in its file: if it now belongs to another process or to a
        zombie, dockerd takes that for its containerd and waits for it in vain.
        """
        pid_file = self.directory / "exec" / "containerd" / "containerd.pid"
        with suppress(OSError, ValueError):
            pid = int(pid_file.read_text(encoding="ascii"))
            if _name(pid) == "containerd":
                os.kill(pid, signal.SIGKILL)
        pid_file.unlink(missing_ok=True)

    def _unmount(self) -> None:
        """Unmount what dockerd leaves behind, such as the network namespace of `--network host`."""
        mounts = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
        for path in reversed([line.split()[1] for line in mounts]):
            if path.startswith(f"{self.directory}/"):
                with suppress(HarnessError):
                    run(["umount", path])

    def _pid(self) -> int | None:
        try:
            pid = int(self.pid_file.read_text(encoding="ascii"))
            return pid if _name(pid) == "dockerd" else None
        except (OSError, ValueError):
            return None

    def _last_words(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-5:])


def _name(pid: int) -> str:
    """The name of process `pid`; `OSError` if there is none."""
    return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()


def _runs(pid: int) -> bool:
    """Whether `pid` is running; reaps it if it is our own child.

    A child of another run that has exited stays a zombie, which has no identity, until that run
    reaps it.
    """
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return process_identity(pid) is not None


def stop_leftover_engine() -> bool:
    """Stop the harness's own engine if an interrupted run left it; return whether it ran."""
    return PrivateEngine(cache_directory() / "engine").stop_leftover()
