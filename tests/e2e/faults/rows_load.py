"""Much at a time: requests of three generators over all regions, and connections that are idle."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import requests

from harness.core.go_tools import GoTool
from harness.core.process import ensure_tools, run
from harness.core.regions import METRICS_PORT, REPOSITORY
from harness.core.wait import wait_until

from .front import UP, bounded, must, port, url, wrk
from .idle import FILES, idle_inside
from .row import EVERY, Row
from .rows_regions import ONE
from .world import NAMES, PORT, World

TOOLS = {"h2load": "nghttp2-client", "wrk": "wrk"}
GHZ = GoTool(package="github.com/bojand/ghz/cmd/ghz", version="0.120.0", takes="half a minute")
AT_A_TIME = 4
IDLE_SECONDS = 3  # in which the others are asked
IDLE = 10_000  # more than the proxy has connections
PROBE_SECONDS = 10  # deploy/chart: a probe may fail five times, 10 s apart
H2_REQUESTS, CALLS, STREAMS = 2000, 200, 40
_PROTO = REPOSITORY / "harness" / "stand_ins" / "plugin" / "proto"
_COSTS, _STAND_IN = "finfocus.v1.CostSourceService", "finfocus.standin.v1.StandIn"
_RESOURCE = {"resource": {"provider": "aws", "resource_type": "ec2", "sku": "t3.micro"}}
_MIX: tuple[tuple[str, object, int], ...] = (
    (f"{_COSTS}.Name", {}, CALLS),
    (f"{_COSTS}.GetProjectedCost", _RESOURCE, CALLS),
    (f"{_STAND_IN}.Echo", {"text": "x" * 2000}, CALLS),
    (f"{_STAND_IN}.Stream", {"count": 5, "interval_ms": 10, "pad_bytes": 500}, STREAMS),
)


def _all_regions(load: Callable[[str], Counter[str]]) -> Counter[str]:
    """What `load` counts on each of the regions, four of them at a time."""
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        return sum(pool.map(load, NAMES), Counter())


def _h2load(world: World) -> None:
    ensure_tools(TOOLS, wanted_for="load on the front")

    def load(name: str) -> Counter[str]:
        paths = (url(world, name, path) for path in ("/healthz", "/standin"))
        text = run(["h2load", f"-n{H2_REQUESTS}", "-c4", "-m20", *paths])
        must(f"{H2_REQUESTS} succeeded, 0 failed, 0 errored, 0 timeout" in text, text)
        must(f"status codes: {H2_REQUESTS} 2xx" in text, text)
        return Counter(requests=H2_REQUESTS)

    world.note(f"{_all_regions(load)['requests']} requests")
    bounded(world)


def _wrk(world: World) -> None:
    ensure_tools(TOOLS, wanted_for="load on the front")

    def load(name: str) -> Counter[str]:
        count, text = wrk(url(world, name), 20, 2)
        must("Non-2xx" not in text and "Socket errors" not in text, text)
        must(count > 0, text)
        return Counter(requests=count)

    world.note(f"{_all_regions(load)['requests']} requests")
    bounded(world)


def _ghz(world: World) -> None:
    program = str(GHZ.provide())

    def load(name: str) -> Counter[str]:
        counted: Counter[str] = Counter()
        for call, data, count in _MIX:
            counted += _called(program, f"127.0.0.1:{port(world, name)}", call, data, count)
        return counted

    counted = _all_regions(load)
    wanted = len(NAMES) * sum(count for _, _, count in _MIX)
    world.note(", ".join(f"{count} {status}" for status, count in counted.items()))
    must(counted == Counter(OK=wanted), f"of {wanted} calls: {dict(counted)}")
    bounded(world)


def _called(program: str, target: str, call: str, data: object, count: int) -> Counter[str]:
    """How many calls ended with which gRPC status."""
    package = call.rpartition(".")[0].rpartition(".")[0]
    source = next((_PROTO / package.replace(".", "/")).glob("*.proto"))
    what = ["--insecure", "--proto", str(source), "--call", call, "--data", json.dumps(data)]
    much = ["--total", str(count), "--concurrency", "10", "--connections", "2"]
    report = json.loads(run([program, *what, *much, "--format", "json", target]))
    return Counter(report["statusCodeDistribution"])


def _idle_one(world: World) -> None:
    with idle_inside(world, [PORT[ONE[0]]], IDLE):
        world.container.dead.wait(IDLE_SECONDS)
        must(world.metrics_status("/livez") == requests.codes.ok, "/livez does not answer")
        bounded(world)


def _idle_all(world: World) -> None:
    with idle_inside(world, list(PORT.values()), IDLE):
        world.container.dead.wait(IDLE_SECONDS)
        for path in ("/livez", "/readyz", "/metrics"):
            must(world.metrics_status(path) == requests.codes.ok, f"{path} does not answer")
        bounded(world)


def _idle_metrics(world: World) -> None:
    with idle_inside(world, [*PORT.values(), METRICS_PORT], IDLE):
        began = time.monotonic()
        wait_until(
            lambda: world.metrics_status("/livez") == requests.codes.ok,
            timeout=PROBE_SECONDS,
            what="/livez answers",
        )
        world.note(f"/livez answers after {time.monotonic() - began:.1f} s")
        bounded(world)


def rows() -> Iterator[Row]:
    """The rows of this file."""
    row = partial(Row, requirement="FR-016")
    yield row(
        name="requests-load-h2",
        done=(
            f"h2load: {H2_REQUESTS:,} requests to each region on 80 streams, four regions at a time"
        ),
        promised=UP,
        act=_h2load,
    )
    yield row(
        name="requests-load-h1",
        done="wrk: 20 connections to each region at full speed for 2 s, four regions at a time",
        promised=UP,
        act=_wrk,
    )
    yield row(
        name="requests-load-grpc",
        done="ghz: unary calls and streams to each region, four regions at a time, 10 calls each",
        promised=f"every call ends with OK; {UP}",
        act=_ghz,
    )
    files = {"ulimits": [{"Name": "nofile", "Soft": FILES, "Hard": FILES}]}
    yield row(
        name="requests-idle-connections",
        done=f"{IDLE:,} idle connections to one region",
        promised="the others answer every request; the proxy uses at most 64 MiB",
        act=_idle_one,
        hit=frozenset(ONE),
        extra=files,
        recovers=15,
    )
    yield row(
        name="requests-idle-connections-all",
        done=f"{IDLE:,} idle connections to all regions",
        promised="/livez, /readyz and /metrics answer; the proxy uses at most 64 MiB",
        act=_idle_all,
        hit=EVERY,
        extra=files,
        recovers=15,
    )
    yield row(
        name="requests-idle-connections-metrics",
        done=f"{IDLE:,} idle connections to all regions and the metrics port",
        promised=f"/livez answers within {PROBE_SECONDS} s; the proxy uses at most 64 MiB",
        act=_idle_metrics,
        hit=EVERY,
        extra=files,
        recovers=15,
    )
