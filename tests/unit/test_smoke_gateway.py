"""The check of the chart's routes, on a gateway that leads requests right or wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlsplit

import pytest

from harness.core.proof import Status
from harness.core.recorder import Recorder
from harness.core.regions import load_regions
from harness.kubernetes import gateway
from harness.kubernetes.gateway import _expect_routes, check_gateway
from harness.kubernetes.stage import Stage
from tests.local_server import LocalServer, QuietHandler

REGIONS = load_regions()
FIRST = REGIONS[0].name


def http_gateway(lead: Callable[[str], str]) -> LocalServer:
    """A gateway that leads a call by its path, for one host name only."""

    class Handler(QuietHandler):
        def do_POST(self) -> None:  # noqa: N802
            region = self.path.split("/")[1]
            found = self.headers["Host"] == "finfocus.test"
            data = json.dumps({"metadata": {"region": lead(region)}} if found else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return LocalServer(Handler)


def grpc_gateway(lead: Callable[[str], str]) -> SimpleNamespace:
    """Stands for grpcio, with a gateway that leads a call by its header."""

    def call(_: bytes, *, metadata: list[tuple[str, str]], timeout: float) -> bytes:
        return b"\x0a\x05" + lead(dict(metadata)["finfocus-region"]).encode()

    @contextmanager
    def channel(_: str, *, options: list[tuple[str, str]]) -> Iterator[Any]:
        assert options == [("grpc.default_authority", "grpc.finfocus.test")]
        yield SimpleNamespace(unary_unary=lambda _: call)

    return SimpleNamespace(insecure_channel=channel)


def as_asked(region: str) -> str:
    return region


def to_the_first(_: str) -> str:
    return FIRST


@pytest.mark.parametrize(
    ("http", "grpc", "problems"),
    [
        pytest.param(as_asked, as_asked, 0, id="right"),
        pytest.param(to_the_first, as_asked, len(REGIONS) - 1, id="paths-ignored"),
        pytest.param(as_asked, to_the_first, len(REGIONS) - 1, id="headers-ignored"),
    ],
)
def test_gateway_must_lead_to_the_region_that_is_named(
    http: Callable[[str], str],
    grpc: Callable[[str], str],
    problems: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A route that answers from another region is a problem of its own."""
    monkeypatch.setitem(sys.modules, "grpc", grpc_gateway(grpc))
    recorder, stage = Recorder(quiet=True), cast("Stage", SimpleNamespace(regions=REGIONS))
    server = http_gateway(http)
    with recorder.check("US-1", "routes") as finding:
        _expect_routes(stage, int(urlsplit(server.url).port or 0), finding)
    server.close()
    assert finding.value == 2 * len(REGIONS) - problems
    assert len(finding.problems) == problems
    assert all(f"led to {FIRST}" in problem for problem in finding.problems)


@pytest.mark.parametrize(
    ("own", "load"),
    [pytest.param(False, None, id="given-cluster"), pytest.param(True, None, id="cannot-load")],
)
def test_gateway_is_not_installed_on_a_cluster_of_others(
    monkeypatch: pytest.MonkeyPatch, *, own: bool, load: None
) -> None:
    """The report shows that the check was skipped, and nothing was compiled or applied."""
    monkeypatch.setattr(gateway, "_provide", None)
    recorder = Recorder(quiet=True)
    cluster = SimpleNamespace(own=own, load=load)
    stage = SimpleNamespace(cluster=cluster, regions=REGIONS, recorder=recorder)
    check_gateway(cast("Stage", stage))
    (check,) = recorder.checks
    assert check.status is Status.SKIPPED
    assert "load balancer" in check.detail
