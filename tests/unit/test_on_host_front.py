"""What the proxy counts, logs and refuses, on the host with the stand-in plugin."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness.core.wait import wait_until
from tests.on_host import OnHost

from .on_host import DEADLINE, lines_of, on_host, why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")

NAME = "/finfocus.v1.CostSourceService/Name"
ECHO = "/finfocus.standin.v1.StandIn/Echo"
BUDGETS = "/finfocus.v1.CostSourceService/GetBudgets"
EMPTY_MESSAGE = b"\0\0\0\0\0"
CONNECTIONS = 320
REGION, OTHER_REGION, SLOW_REGION = "us-east-1", "eu-west-1", "sa-east-1"
TRACE = {
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "tracestate": "vendor=value,other=t61rcWkgMzE",
    "grpc-trace-bin": "AABL+S81d7NNpqPOkp0ODkc2AQDwZ6oLqQK3AgE",
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnHost]:
    """Three regions that are ready, with an access log and a limit of connections."""
    orders = {
        "FINFOCUS_ACCESS_LOG": "true",
        "FINFOCUS_MAX_CONNECTIONS": str(CONNECTIONS),
    }
    with on_host(tmp_path_factory.mktemp("front"), **orders) as running:
        running.await_ready()
        yield running


def samples(running: OnHost, name: str, region: str = REGION) -> dict[tuple[str, ...], float]:
    """Values of a metric of a region, by the other labels in alphabetical order of their names."""
    text = httpx.get(f"http://127.0.0.1:{running.metrics_port}/metrics", timeout=5).text
    return {
        tuple(sample.labels[key] for key in sorted(sample.labels) if key != "finfocus_region"): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and sample.labels.get("finfocus_region") == region
    }


def call(
    running: OnHost, path: str, kind: str, region: str = REGION, **headers: str
) -> httpx.Response:
    """Send a call in one of the three protocols."""
    grpc = kind.startswith("grpc")
    body = EMPTY_MESSAGE if grpc else b"{}"
    given = {"content-type": f"application/{kind}", "te": "trailers", **headers}
    with httpx.Client(http1=not grpc, http2=grpc, timeout=DEADLINE) as client:
        return client.post(
            f"http://127.0.0.1:{running.port(region)}{path}", content=body, headers=given
        )


@pytest.mark.parametrize(
    ("path", "kind", "fault", "counted"),
    [
        (NAME, "json", "", ("ok", "Name")),
        (NAME, "grpc", "", ("ok", "Name")),
        (NAME, "grpc-web+proto", "", ("ok", "Name")),
        (BUDGETS, "json", "", ("unimplemented", "GetBudgets")),
        (BUDGETS, "grpc", "", ("error", "GetBudgets")),
        (ECHO, "json", "failed_precondition", ("failed_precondition", "other")),
        (ECHO, "json", "data_loss", ("data_loss", "other")),
        (ECHO, "grpc", "internal", ("error", "other")),
        (ECHO, "grpc-web+proto", "internal", ("internal", "other")),
    ],
)
def test_fr_019_a_call_is_counted_by_method_and_code(
    service: OnHost, path: str, kind: str, fault: str, counted: tuple[str, str]
) -> None:
    """FR-019 (Prometheus metrics): one more, under a known method and a known code."""
    before = samples(service, "finfocus_region_rpcs_total")
    call(service, path, kind, **({"standin-error": fault} if fault else {}))
    after = samples(service, "finfocus_region_rpcs_total")
    changed = {key: value - before.get(key, 0) for key, value in after.items()}
    assert {key: value for key, value in changed.items() if value} == {counted: 1}


def test_fr_019_what_is_no_call_is_not_counted_as_one(service: OnHost) -> None:
    """FR-019: a page, a health check and a path of a client's making add no label value."""
    before = samples(service, "finfocus_region_rpcs_total")
    for path in ("/standin", "/healthz", "/x/Name"):
        httpx.get(f"http://127.0.0.1:{service.port(REGION)}{path}", timeout=5)
    assert samples(service, "finfocus_region_rpcs_total") == before


def test_trace_context_reaches_the_plugin(service: OnHost) -> None:
    """The headers of a trace arrive unchanged, over both versions of HTTP."""
    for http2 in (False, True):
        with httpx.Client(http1=not http2, http2=http2, timeout=DEADLINE) as client:
            answer = client.post(
                f"http://127.0.0.1:{service.port(REGION)}/standin/echo", headers=TRACE
            )
        seen = json.loads(answer.headers["standin-headers"])
        arrived = {name.lower(): ",".join(values) for name, values in seen.items()}
        assert {name: arrived.get(name) for name in TRACE} == TRACE


def access_lines(running: OnHost, mark: str) -> list[dict[str, object]]:
    """The access log's lines of requests whose user agent has this mark."""
    return [
        line.fields
        for line in lines_of(running)
        if line.fields and mark in str(line.fields.get("user_agent", ""))
    ]


def test_fr_020_access_log_has_a_line_for_each_request(service: OnHost) -> None:
    """FR-020 (region, time and level in each line): what a client sends cannot break a line."""
    agent = 'mark-a "quoted\\ \t {\xe9\xff}'
    raw = f"POST {NAME}?secret=1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    raw += f"User-Agent: {agent}\r\nTraceparent: {TRACE['traceparent']}\r\n"
    raw += "Content-Length: 2\r\nConnection: close\r\n\r\n{}"
    with socket.create_connection(("127.0.0.1", service.port(REGION)), DEADLINE) as client:
        client.sendall(raw.encode("latin-1"))
        while client.recv(4096):
            pass
    call(service, "/" + "\u00e9" * 300, "json", **{"user-agent": "mark-a"})
    wait_until(
        lambda: len(access_lines(service, "mark-a")) == 2,
        timeout=DEADLINE,
        what="two lines of the access log",
        explain=service.text,
    )
    assert [line for line in lines_of(service) if line.problem] == []
    first, second = access_lines(service, "mark-a")
    assert first["region"] == REGION and first["level"] == "info" and first["timestamp"]
    assert (first["method"], first["path"], first["status"]) == ("POST", NAME, 200)
    assert (first["rpc"], first["code"], first["protocol"]) == ("Name", "ok", "HTTP/1.1")
    assert first["trace_id"] == TRACE["traceparent"].split("-")[1]
    assert str(first["user_agent"]).startswith('mark-a "quoted\\ \t {')
    assert len(str(second["path"])) == 512
    assert "secret" not in service.text()


def test_access_log_leaves_out_health_checks_and_is_off_by_default(
    service: OnHost, tmp_path: Path
) -> None:
    """A check of /healthz leaves no line, and no request does without the setting."""
    agent = {"user-agent": "mark-b"}
    httpx.get(f"http://127.0.0.1:{service.port(REGION)}/healthz", headers=agent, timeout=5)
    call(service, NAME, "json", **agent)
    wait_until(
        lambda: access_lines(service, "mark-b"),
        timeout=DEADLINE,
        what="a line of the access log",
        explain=service.text,
    )
    assert [line["path"] for line in access_lines(service, "mark-b")] == [NAME]
    with on_host(tmp_path) as running:
        running.await_ready()
        call(running, NAME, "json", **agent)
        assert running.stop() == 0
    assert access_lines(running, "mark-b") == []


def ask(connection: socket.socket) -> bytes:
    """Send a request on an open connection; return the answer's head, empty when it is closed."""
    try:
        connection.sendall(b"GET /standin HTTP/1.1\r\nHost: x\r\n\r\n")
        return connection.recv(65536)
    except ConnectionError:
        return b""


@contextmanager
def clients(running: OnHost, count: int) -> Iterator[Sequence[socket.socket]]:
    """`count` connections to a region; some may be closed already."""
    with ExitStack() as stack:
        opened = []
        for _ in range(count):
            connection = stack.enter_context(closing(socket.socket()))
            connection.settimeout(DEADLINE)
            with suppress(ConnectionError):
                connection.connect(("127.0.0.1", running.port(REGION)))
            opened.append(connection)
        yield opened


def statuses(connections: Sequence[socket.socket]) -> list[str]:
    return [ask(connection)[9:12].decode() for connection in connections]


def test_a_client_beyond_the_limit_is_told_at_once(service: OnHost) -> None:
    """Connections 1 to 320 are served, 321 gets a 503 in JSON, and the metrics and probe say so."""
    metrics = f"http://127.0.0.1:{service.metrics_port}"
    before = samples(service, "finfocus_region_refused_total")[()]
    with clients(service, CONNECTIONS) as served:
        assert statuses(served) == ["200"] * CONNECTIONS
        assert samples(service, "finfocus_region_connections")[()] == CONNECTIONS
        assert samples(service, "finfocus_region_connections_limit")[()] == CONNECTIONS
        began = time.monotonic()
        refused = call(service, NAME, "json")
        assert time.monotonic() - began < 1
        assert (refused.status_code, refused.json()["region"]) == (503, REGION)
        assert "connection limit" in refused.json()["error"]
        assert samples(service, "finfocus_region_refused_total")[()] == before + 1
        assert samples(service, "finfocus_region_rpcs_total")["unavailable", "Name"] == 1
        health = httpx.get(f"http://127.0.0.1:{service.port(REGION)}/healthz", timeout=5)
        assert health.status_code == 200
        probe = httpx.get(f"{metrics}/readyz/{REGION}", timeout=5)
        assert (probe.status_code, probe.json()["saturated"]) == (503, [REGION])
        assert httpx.get(f"{metrics}/readyz", timeout=5).json()["saturated"] == [REGION]
        assert httpx.get(f"{metrics}/readyz", timeout=5).status_code == 200
        assert call(service, NAME, "json", OTHER_REGION).status_code == 200
        served[0].close()
        wait_until(
            lambda: call(service, NAME, "json").status_code == 200,
            timeout=DEADLINE,
            what="the place of a client that has left is free",
        )


def test_many_clients_beyond_the_limit_do_not_wait(service: OnHost) -> None:
    """Of 600 connections at a time each has an answer or its end within a second."""
    with clients(service, 600) as connections:
        began = time.monotonic()
        found = statuses(connections)
        assert time.monotonic() - began < 5
    assert found[:CONNECTIONS] == ["200"] * CONNECTIONS
    assert set(found[CONNECTIONS:]) <= {"503", ""}


def test_http_2_client_that_was_refused_is_served_later(service: OnHost) -> None:
    """A connection that came too late keeps no grudge: it serves when there is room."""
    url = f"http://127.0.0.1:{service.port(REGION)}/standin"
    with httpx.Client(http1=False, http2=True, timeout=DEADLINE) as late:
        with clients(service, CONNECTIONS) as served:
            assert statuses(served) == ["200"] * CONNECTIONS
            assert late.get(url).status_code == 503
        wait_until(
            lambda: late.get(url).status_code == 200,
            timeout=DEADLINE,
            what="the late client is served",
        )


def requests_of_each_connection(running: OnHost, count: int, *, http2: bool) -> list[int]:
    """Send requests one after another as a keep-alive client does; every one must succeed."""
    used: Counter[object] = Counter()
    with httpx.Client(http1=not http2, http2=http2, timeout=DEADLINE) as client:
        for _ in range(count):
            answer = client.get(f"http://127.0.0.1:{running.port(REGION)}/standin")
            assert answer.status_code == 200
            used[answer.extensions["network_stream"]] += 1
    return list(used.values())


def test_connections_end_after_some_requests(tmp_path: Path) -> None:
    """Clients move on to other pods: their connections end, and no request is lost by that."""
    haproxy = shutil.which("haproxy")
    assert haproxy
    with on_host(tmp_path, FINFOCUS_MAX_CONNECTION_REQUESTS="20") as running:
        running.await_ready()
        assert len(requests_of_each_connection(running, 300, http2=False)) > 3
        if b"max-total-streams" in Path(haproxy).read_bytes():
            # httpx takes no response behind a GOAWAY, other clients do.
            with pytest.raises(httpx.LocalProtocolError):
                requests_of_each_connection(running, 300, http2=True)
        else:
            assert len(requests_of_each_connection(running, 30, http2=True)) == 1
            assert "ends no HTTP/2 connection" in running.text()
        assert running.stop() == 0
