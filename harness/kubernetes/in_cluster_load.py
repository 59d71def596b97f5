"""Send requests through the Service from a pod inside the cluster."""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from harness.core.errors import HarnessError
from harness.core.go_tools import GoProgram
from harness.core.recorder import Limits, Observation
from harness.core.regions import Region
from harness.core.wait import wait_until
from harness.kubernetes.helper import helper_pod
from harness.kubernetes.names import APP
from harness.kubernetes.stage import Stage

NAME = "finfocus-smoke-load"
SOURCE = Path(__file__).parent / "load"
WAYS = ("new", "kept", "h2", "grpc")
"""How the client sends: a connection per request, kept HTTP/1.1, Connect over HTTP/2, gRPC."""
REQUESTS = 1000  # of each way
REQUESTS_SECONDS = 120
START_SECONDS = 60

# The pod's image has no client for HTTP/2: it waits until the program arrives over `kubectl exec`.
_AWAIT_CLIENT = r"""
exec {idle}<> <(:)
until [[ -x /work/load ]]; do read -r -t 0.1 -u "$idle" || true; done
exec /work/load $TARGETS
"""
_RECEIVE = (
    "base64 -d >/work/receiving && chmod 0755 /work/receiving && mv /work/receiving /work/load"
)


@dataclass(kw_only=True)
class Load:
    """The results of the requests; complete after the block of `load`."""

    answered: Mapping[str, int] = field(default_factory=dict)  # by way
    connections: Mapping[str, int] = field(default_factory=dict)  # by way
    failed: int = 0
    failures: tuple[str, ...] = ()  # "h2 8001: reason", the first of them

    @property
    def least(self) -> int:
        """How many requests were answered in the way that has the fewest."""
        return min((self.answered.get(way, 0) for way in WAYS), default=0)

    def text(self) -> str:
        """For people: "new 1200, kept 1200 on 24 connections"."""
        return ", ".join(
            f"{way} {self.answered.get(way, 0)} on {self.connections.get(way, 0)} connections"
            for way in WAYS
        )


def read_load(lines: list[str]) -> Load:
    """Return the results in the client's output; lines that are not its own are ignored."""
    failures, totals = [], {}
    for line in lines:
        try:
            said = json.loads(line)
        except ValueError:
            continue  # the last line may be incomplete
        if "failed" in said:
            failures.append(str(said["failed"]))
        else:
            totals = said
    return Load(
        answered={way: int(total["answered"]) for way, total in totals.items()},
        connections={way: int(total["connections"]) for way, total in totals.items()},
        failed=max(len(failures), sum(int(total["failed"]) for total in totals.values())),
        failures=tuple(failures),
    )


@contextmanager
def load(stage: Stage, services: Mapping[str, Sequence[Region]]) -> Iterator[Load]:
    """Send requests to the regions of each Service during the block, and 1,000 in each way.

    Raises `EnvironmentMissingError` if Go, which compiles the client, is missing.
    """
    targets = [
        f"{stage.kubectl.get('service', name)['spec']['clusterIP']}:{region.port}"
        for name, regions in services.items()
        for region in regions
    ]
    found = Load()
    with helper_pod(stage, NAME, _AWAIT_CLIENT, {"TARGETS": " ".join(targets)}):
        _send_client(stage)
        _await_requests(stage, 1, START_SECONDS)
        try:
            yield found
            _await_requests(stage, REQUESTS, REQUESTS_SECONDS)
        finally:
            with suppress(HarnessError):
                vars(found).update(vars(_results(stage)))


def _send_client(stage: Stage) -> None:
    node = stage.kubectl.get("node", stage.pod(NAME)["spec"]["nodeName"])
    architecture = str(node["status"]["nodeInfo"]["architecture"])
    program = GoProgram(
        source=SOURCE, name="smoke-load", environ={"GOOS": "linux", "GOARCH": architecture}
    ).provide()
    text = base64.b64encode(program.read_bytes()).decode()
    stage.kubectl.run("exec", "--stdin", NAME, "--", "bash", "-c", _RECEIVE, stdin=text)


def _results(stage: Stage) -> Load:
    return read_load(stage.kubectl.run("logs", NAME).splitlines())


def _await_requests(stage: Stage, count: int, seconds: float) -> None:
    wait_until(
        lambda: _results(stage).least >= count,
        timeout=seconds,
        interval=0.5,
        what=f"{count} requests are answered in each way",
        explain=lambda: f"{_results(stage).text()}\n{stage.kubectl.trouble()}",
    )


@contextmanager
def under_load(
    stage: Stage,
    scenario: str,
    title: str,
    services: Mapping[str, Sequence[Region]] | None = None,
) -> Iterator[Observation]:
    """Check that no request fails during the block; `services` is the layout of all regions."""
    with stage.recorder.check(
        "US-1", title, limits=Limits(bound=0), limit="0 failed", scenario=scenario, headline=True
    ) as finding:
        found = Load()
        try:
            with load(stage, services or {APP: stage.regions}) as found:
                yield finding
        finally:
            total = sum(found.answered.values())
            if total:
                finding.value = found.failed
            finding.measured = f"{found.failed} of {total} requests failed"
            finding.note = "\n".join([found.text(), *found.failures[:12]])
