"""One container under load, and the things that can be done to it."""

from __future__ import annotations

import re
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import docker
import requests

from harness.core.errors import HarnessError
from harness.core.regions import BINARY_PREFIX, METRICS_PORT, load_regions
from harness.core.wait import wait_until
from harness.engine.container import Options, RunningContainer, created
from harness.engine.logs import LogLine
from harness.verify.probe import status_of

from .inside import Process, pids_of, processes_in
from .numbered import ENVIRON, NumberedLines
from .reader import Reader, make_fifo
from .traffic import Traffic

REGIONS = load_regions()
NAMES = tuple(region.name for region in REGIONS)
PORTS = (*(region.port for region in REGIONS), METRICS_PORT)
PORT = {region.name: region.port for region in REGIONS}
READY_SECONDS = 10.0  # SC-002
# In the command lines of the parts; the supervisor's names the proxy's program too.
SUPERVISOR, PROXY, WRITER = "supervisor.lua", "haproxy -db", "logmux.lua"

_ENDED = re.compile(r"(\S+) exited \(code")
_SAMPLE = r'^finfocus_region_{}\{{finfocus_region="([^"]+)"[^}}]*\}} (\d+)$'


def _said_at(line: LogLine) -> float:
    """When the supervisor wrote the line, which is a moment before it is read here."""
    said = datetime.fromisoformat(str((line.fields or {})["time"]))
    return line.at - max(0.0, time.time() - said.timestamp())


class World:
    """A container of the image with requests and numbered log lines on every region."""

    def __init__(self, client: docker.DockerClient, container: RunningContainer) -> None:
        self.client = client
        self.container = container
        self.traffic = Traffic(container, REGIONS)
        self.numbered = NumberedLines()
        self.struck_at = 0.0
        self.notes: list[str] = []
        self.readers: list[Reader] = []
        self.ends: Counter[str] = Counter()  # of each region and part, as the supervisor says
        self.starts: Counter[str] = (
            Counter()
        )  # of each plugin, as its first line says when that is whole
        self.stopping_at = float("inf")  # when the supervisor began to stop all regions
        container.log.listen(self._take)

    def _take(self, line: LogLine) -> None:
        self.numbered.take(line)
        message = str((line.fields or {}).get("message"))
        self.starts[line.region] += message == "stand-in starting"
        if ended := _ENDED.match(message):
            self.ends[ended[1]] += 1
        if self.stopping_at > line.at and "stopping" in message:
            self.stopping_at = _said_at(line)

    def start(self, ready_seconds: float = READY_SECONDS) -> None:
        """Start it and wait until every region is ready."""
        self.container.start(PORTS)
        if ready_seconds:
            self.await_ready(ready_seconds)

    def await_ready(self, timeout: float) -> None:
        """Return when /readyz says that all regions are; raise when that takes too long."""
        wait_until(
            lambda: self.container.dead.is_set() or self.metrics_status("/readyz") == 200,
            timeout=timeout,
            what="every region is ready",
            explain=lambda: "\n".join(self.container.tail_text()),
        )
        self.container.expect_alive()

    def metrics_status(self, path: str) -> int:
        """HTTP status of `path` on the metrics port."""
        return status_of(self.container, METRICS_PORT, path)

    def ending(self) -> bool:
        """Whether the container has ended or is about to."""
        return self.container.dead.is_set() or self.stopping_at < time.monotonic()

    @property
    def reader(self) -> Reader:
        """Who reads the container's stdout, for a row with `fifo`."""
        return self.readers[0]

    def strike(self) -> None:
        """Note that the fault happens now: recovery counts from here."""
        self.struck_at = time.monotonic()

    def note(self, text: str) -> None:
        """Keep something that was measured for the report."""
        self.notes.append(text)

    def processes(self) -> list[Process]:
        """Everything that runs inside but this look."""
        return processes_in(self.container)

    def pids(self, *names: str) -> list[int]:
        """Process IDs whose command line has one of `names`."""
        return pids_of(self.processes(), names)

    def supervisor(self) -> int:
        """Process ID of the supervisor."""
        return min(self.pids(SUPERVISOR))

    def send(self, signal: str, *names: str) -> None:
        """Send `signal` to every process that one of `names` names."""
        pids = self.pids(*names)
        if not pids:
            raise HarnessError(f"nothing runs that is called {' or '.join(names)}")
        self.strike()
        self.shell(f"kill -{signal} {' '.join(map(str, pids))}")

    def send_regions(self, signal: str, regions: Sequence[str]) -> None:
        """Send `signal` to the plugins of `regions`."""
        self.send(signal, *(BINARY_PREFIX + name for name in regions))

    def shell(self, script: str, *, user: str = "") -> str:
        """Output of a script inside; raises when it fails."""
        code, output = self.container.execute(["bash", "-c", script], user=user)
        text = output.decode(errors="replace")
        if code != 0:
            raise HarnessError(f"{script!r} failed inside (exit {code}): {text[-300:]}")
        return text

    def in_background(self, script: str, *, user: str = "") -> None:
        """Run a script inside and do not wait for it."""
        self.container.container.exec_run(["bash", "-c", script], user=user, detach=True)

    def order(self, region: str, kind: str) -> None:
        """Order a fault from the stand-in plugin; see harness/stand_ins/plugin/README.md."""
        url = self.container.url(PORT[region], f"/standin/fault?kind={kind}")
        self.strike()
        answer = requests.post(url, timeout=5)
        if answer.status_code != requests.codes.ok:
            raise HarnessError(f"{region} does not take the order {kind}: {answer.text}")

    @contextmanager
    def in_flight(self, seconds: float) -> Iterator[list[str]]:
        """One request to every region that takes `seconds`, on its way when the block begins.

        Gives a list that has, after the block, the names of the regions whose request failed.
        """
        failed: list[str] = []
        ask = partial(self._ask_slowly, seconds=seconds, failed=failed)
        threads = [threading.Thread(target=ask, args=(name,)) for name in NAMES]
        for thread in threads:
            thread.start()
        wait_until(
            lambda: min(self.requests_in_flight().values()) > 0,
            timeout=5,
            what="the slow requests have reached the plugins",
        )
        try:
            yield failed
        finally:
            for thread in threads:
                thread.join()

    def _ask_slowly(self, name: str, *, seconds: float, failed: list[str]) -> None:
        url = self.container.url(PORT[name], "/finfocus.standin.v1.StandIn/Echo")
        headers = {"Standin-Delay": f"{seconds:g}s"}
        try:
            answer = requests.post(url, json={"n": 1}, headers=headers, timeout=seconds + 10)
            if answer.status_code != requests.codes.ok or answer.json() != {"n": 1}:
                failed.append(f"{name}: {answer.status_code}")
        except (requests.RequestException, ValueError) as error:
            failed.append(f"{name}: {type(error).__name__}")

    def requests_in_flight(self) -> Counter[str]:
        """How many requests each region works on, as the metrics tell."""
        return self._counted("requests_in_flight")

    def requests_answered(self) -> Counter[str]:
        """How many requests each region has answered, as the metrics tell."""
        return self._counted("requests_total")

    def _counted(self, family: str) -> Counter[str]:
        text = requests.get(self.container.url(METRICS_PORT, "/metrics"), timeout=5).text
        counted: Counter[str] = Counter()
        for region, count in re.findall(_SAMPLE.format(family), text, re.MULTILINE):
            counted[region] += int(count)
        return counted

    def said(self, words: str, region: str = "") -> bool:
        """Whether a line that is still in memory has `words`."""
        return self.count(words, region) > 0

    def count(self, words: str, region: str = "") -> int:
        """How many of the lines that are still in memory, of `region` or of all, have `words`."""
        kept = self.container.log.kept()
        parts = [kept.get(region, ())] if region else kept.values()
        return sum(words in line.text for lines in parts for line in lines)

    def await_said(self, words: str, timeout: float = 10) -> None:
        """Return when a log line with `words` has come; raise when it does not."""
        if not self.container.log.wait_for(lambda: self.said(words), timeout):
            raise HarnessError(f"no log line says {words!r} within {timeout:g} s")

    def await_ended(self, name: str, before: int, timeout: float = 10) -> None:
        """Return when the supervisor has seen the end of `name` more than `before` times."""
        if not self.container.log.wait_for(lambda: self.ends[name] > before, timeout):
            raise HarnessError(f"the supervisor does not see the end of {name} in {timeout:g} s")

    def recovery_seconds(self, names: Sequence[str] = NAMES) -> float:
        """Seconds from the fault to the last failed request; 0 when none failed after it."""
        return max(0.0, self.traffic.last_failure(names) - self.struck_at)


@contextmanager
def world_of(
    client: docker.DockerClient,
    image: str,
    environ: Mapping[str, str],
    extra: Mapping[str, Any],
    *,
    fifo: bool = False,
) -> Iterator[World]:
    """A world, not started; its container is removed at the end of the block.

    With `fifo` its stdout is a FIFO that `World.reader` reads; the engine's log has nothing then.
    """
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        given = {**extra, **(make_fifo(directory) if fifo else {})}
        options = Options(ports=PORTS, environ={**ENVIRON, **environ}, extra=given)
        container = stack.enter_context(created(client, image, NAMES, options))
        world = World(client, container)
        if fifo:
            world.readers.append(Reader(directory, container.log._take))
            stack.callback(world.readers[0].close)
        yield world
        if world.traffic.requests:
            world.traffic.stop()
