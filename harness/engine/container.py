"""One container under test: its lifecycle, ports, log and early exit."""

import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import docker
import requests
from docker.errors import APIError, DockerException, NotFound
from docker.models.containers import Container

from harness.core.errors import ContainerDiedError, HarnessError
from harness.core.labels import run_labels
from harness.core.wait import wait_until
from harness.engine.execute import execute
from harness.engine.logs import KEPT_CHARACTERS, LogStream

TAIL_LINES = 5
LOG_BYTES = 1 << 20
START_ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a container is started."""

    ports: Sequence[int] = ()  # container ports to publish on free loopback ports
    environ: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)  # docker-py's arguments


class RunningContainer:
    """A container that the harness started. Times are `time.monotonic()` seconds."""

    def __init__(self, container: Container, regions: Sequence[str]) -> None:
        self.container = container
        self.log = LogStream(container, regions)
        self.dead = threading.Event()
        self.exit_code: int | None = None
        self.started_at = 0.0
        self.ended_at = 0.0
        self._never_started = ""
        self.host_ports: dict[int, int] = {}
        self._watch = threading.Thread(target=self._await_death, daemon=True)

    def start(self, ports: Sequence[int]) -> None:
        """Start it and read its published ports; its log is followed from the first byte."""
        try:
            self._start()
        except (DockerException, requests.RequestException) as error:
            reason = getattr(error, "explanation", None) or error
            self._never_started = f"the container cannot start: {reason}"
            self.ended_at = time.monotonic()
            self.dead.set()
            raise ContainerDiedError(self._never_started) from error
        self._watch.start()
        self.log.start()
        wait_until(
            lambda: self.dead.is_set() or self._learn_ports(ports),
            timeout=10,
            what="ports are published",
        )

    def _start(self) -> None:
        """Start it, with retries: the engine may pick a port that is already in use."""
        for attempt in range(START_ATTEMPTS):
            self.started_at = time.monotonic()
            try:
                self.container.start()
            except APIError as error:
                if "address already in use" not in str(error) or attempt == START_ATTEMPTS - 1:
                    raise
            else:
                return

    def _learn_ports(self, ports: Sequence[int]) -> bool:
        self.container.reload()
        bindings = self.container.attrs["NetworkSettings"]["Ports"] or {}
        for port in ports:
            for binding in bindings.get(f"{port}/tcp") or []:
                self.host_ports[port] = int(binding["HostPort"])
        return all(port in self.host_ports for port in ports)

    def _await_death(self) -> None:
        with suppress(DockerException, requests.RequestException):
            self.exit_code = int(self.container.wait()["StatusCode"])
        self.ended_at = time.monotonic()
        self.dead.set()

    def address(self) -> str:
        """Its IP address in the engine's network, reachable from a local Linux engine's host."""
        self.container.reload()
        networks = self.container.attrs["NetworkSettings"]["Networks"]
        found = [str(network["IPAddress"]) for network in networks.values()]
        if not found or not found[0]:
            raise HarnessError("the container has no IP address. It needs its own network.")
        return found[0]

    def url(self, port: int, path: str = "") -> str:
        """URL of a published container port."""
        return f"http://127.0.0.1:{self.host_ports[port]}{path}"

    def signal(self, name: str) -> float:
        """Send a signal to PID 1; return the time it was sent."""
        sent = time.monotonic()
        try:
            self.container.kill(signal=name)
        except APIError as error:
            if not self.dead.wait(1):
                raise HarnessError(f"cannot send {name}: {error.explanation}") from error
        return sent

    def execute(self, command: Sequence[str], *, user: str = "") -> tuple[int, bytes]:
        """Exit code and output (stdout and stderr) of a command inside the container.

        Raises `HarnessError` if it cannot run, times out, or prints too much.
        """
        try:
            return execute(self.container, command, user)
        except APIError as error:
            self.expect_alive()
            raise HarnessError(f"cannot run {command[0]} inside: {error.explanation}") from error
        except HarnessError:
            self.expect_alive()
            raise

    def output(self) -> str:
        """The output of an exited container, capped at the first mebibyte."""
        text = bytearray()
        for chunk in self.container.logs(stream=True, follow=False):
            text += chunk
            if len(text) > LOG_BYTES:
                break
        return bytes(text[:LOG_BYTES]).decode(errors="replace")

    def expect_alive(self) -> None:
        """Raise `ContainerDiedError`, with all known details, if it has exited."""
        if self.dead.is_set():
            raise ContainerDiedError(self.obituary())

    def wait_dead(self, timeout: float) -> bool:
        """Whether it exits within `timeout` seconds; the log is then complete."""
        if not self.dead.wait(timeout):
            return False
        self.log.finish()
        return True

    def exit_time(self) -> float:
        """When PID 1 exited; the engine tears down the network before it reports the exit."""
        self.container.reload()
        text = str(self.container.attrs["State"]["FinishedAt"])
        # RFC 3339 with nanoseconds; datetime has microseconds.
        seconds, _, fraction = text.removesuffix("Z").partition(".")
        epoch = datetime.fromisoformat(f"{seconds}+00:00").timestamp() + float(f"0.{fraction or 0}")
        return epoch - time.time() + time.monotonic()

    def obituary(self) -> str:
        """Exit code, out-of-memory flag, health output and the last log lines of each region."""
        if self._never_started:
            return self._never_started
        self.log.finish()
        state: dict[str, Any] = {}
        with suppress(DockerException):
            self.container.reload()
            state = self.container.attrs["State"]
        lines = [
            f"the container ended after {max(self.ended_at - self.started_at, 0):.2f} s"
            f" with exit code {self.exit_code}{_signal_words(self.exit_code)}"
            + (" (out of memory)" if state.get("OOMKilled") else "")
        ]
        if state.get("Error"):
            lines.append(f"engine: {state['Error']}")
        if health := (state.get("Health") or {}).get("Log"):
            lines.append(f"health: {str(health[-1]['Output']).strip()[:KEPT_CHARACTERS]}")
        return "\n".join([*lines, *self.tail_text()])

    def tail_text(self) -> Iterator[str]:
        """The last log lines, under a heading per region."""
        for region, tail in self.log.tail(TAIL_LINES).items():
            yield f"last lines of {region}:"
            yield from (f"  {line}" for line in tail)


def _signal_words(code: int | None) -> str:
    """The signal in an exit code, by the shell's convention: 128 plus the signal's number."""
    try:
        return f" ({signal.Signals((code or 0) - 128).name})"
    except ValueError:
        return ""


@contextmanager
def running(
    client: docker.DockerClient, image: str, regions: Sequence[str], options: Options
) -> Iterator[RunningContainer]:
    """A started container of `image`, always removed with its volumes."""
    with created(client, image, regions, options) as container:
        container.start(options.ports)
        yield container


@contextmanager
def created(
    client: docker.DockerClient,
    image: str,
    regions: Sequence[str],
    options: Options,
    *,
    published: Mapping[str, tuple[str, int]] | None = None,
) -> Iterator[RunningContainer]:
    """A container of `image`, not started yet, always removed with its volumes."""
    # Ctrl+C does not interrupt a thread, so every created container is known and removed.
    pool = ThreadPoolExecutor(1)
    making: Future[Container] = pool.submit(
        client.containers.create,
        image,
        environment=dict(options.environ),
        ports=dict(published or {f"{port}/tcp": ("127.0.0.1", 0) for port in options.ports}),
        labels=run_labels(),
        detach=True,
        **options.extra,
    )
    under_test: RunningContainer | None = None
    try:
        try:
            under_test = RunningContainer(making.result(), regions)
        except APIError as error:
            raise HarnessError(
                f"cannot create a container of {image}: {error.explanation}"
            ) from error
        yield under_test
    finally:
        pool.shutdown()
        if making.exception() is None:
            with suppress(NotFound):
                making.result().remove(force=True, v=True)
        if under_test:
            under_test.log.finish()
