"""What clients send: a lot, slowly, too much, half, broken, or more than they should."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import requests

from harness.errors import HarnessError
from harness.process import ensure_tools, run
from harness.wait import wait_until

from . import attacks
from .row import EVERY, Row
from .rows_regions import ONE
from .world import NAMES, PORT, World

TOOLS = {"h2load": "nghttp2-client", "wrk": "wrk"}
IDLE = 5000  # more than the proxy has connections
PROXY_KIB = 64 * 1024  # what the proxy may hold after the attack
IDLE_SECONDS = 3
_OPEN = """
local s = require("posix.sys.socket")
local fcntl, unistd = require("posix.fcntl"), require("posix.unistd")
for _ = 1, %d do
  local fd = s.socket(s.AF_INET, s.SOCK_STREAM, 0)
  fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.O_NONBLOCK)
  s.connect(fd, { family = s.AF_INET, addr = "127.0.0.1", port = %d })
end
unistd.sleep(%d)
"""
REFUSED = (400, 501, 505)
SLOW_REQUEST_SECONDS = 10  # haproxy.cfg: timeout http-request


def _url(world: World, name: str, path: str = "/healthz") -> str:
    return world.container.url(PORT[name], path)


def _port(world: World) -> int:
    return world.container.host_ports[PORT[ONE[0]]]


def _must(condition: object, problem: str) -> None:
    if not condition:
        raise HarnessError(problem)


def _proxy_kib(world: World) -> int:
    """Resident memory of the proxy (proc(5), VmRSS)."""
    text = world.shell(f"cat /proc/{world.pids('haproxy')[0]}/status")
    return int(re.findall(r"(?m)^VmRSS:\s+(\d+)", text)[0])


def _bounded(world: World) -> None:
    held = _proxy_kib(world)
    world.note(f"proxy {held // 1024} MiB")
    _must(held <= PROXY_KIB, f"the proxy holds {held} KiB, more than {PROXY_KIB}")


def _h2load(world: World) -> None:
    ensure_tools(TOOLS, wanted_for="load on the front")

    def load(name: str) -> str:
        return run(["h2load", "-n3000", "-c4", "-m20", _url(world, name)])

    with ThreadPoolExecutor(3) as pool:
        for text in pool.map(load, NAMES[:3]):
            _must("3000 succeeded, 0 failed, 0 errored, 0 timeout" in text, text)
    _bounded(world)


def _wrk(world: World) -> None:
    ensure_tools(TOOLS, wanted_for="load on the front")

    def load(name: str) -> str:
        return run(["wrk", "-t1", "-c20", "-d2s", _url(world, name)])

    with ThreadPoolExecutor(3) as pool:
        for text in pool.map(load, NAMES[3:6]):
            _must("Non-2xx" not in text and "Socket errors" not in text, text)
    _bounded(world)


def _idle(world: World) -> None:
    # From inside: between the client and the container there may be a proxy of the engine's.
    world.in_background(f"exec lua5.3 -e '{_OPEN % (IDLE, PORT[ONE[0]], IDLE_SECONDS)}'")
    world.container.dead.wait(IDLE_SECONDS)
    _must(world.metrics_status("/livez") == requests.codes.ok, "/livez does not answer")
    _bounded(world)


def _slow_loris(world: World) -> None:
    with attacks.idle_connections(_port(world), 200) as connections:
        attacks.drip(connections, 3)
        _must(world.metrics_status("/readyz") == 200, "/readyz is not 200 meanwhile")
    _bounded(world)


def _slow_loris_ends(world: World) -> None:
    with attacks.idle_connections(_port(world), 1) as connections:
        attacks.drip(connections, 0.3)
        connections[0].settimeout(SLOW_REQUEST_SECONDS + 5)
        answer = connections[0].recv(1 << 12)
        _must(answer.startswith(b"HTTP/1.1 408") or answer == b"", f"{answer!r}")


def _large_header(world: World) -> None:
    line = b"X: " + b"x" * (1 << 16) + b"\r\n"
    answer = attacks.exchange(
        _port(world), b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + line + b"\r\n"
    )
    _must(answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431")), f"{answer[:80]!r}")
    many = b"".join(b"X-%d: y\r\n" % n for n in range(2000))
    answer = attacks.exchange(
        _port(world), b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + many + b"\r\n"
    )
    _must(answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431")), f"{answer[:80]!r}")


def _large_body(world: World) -> None:
    body = bytes(100 << 20)
    try:
        answer = requests.post(_url(world, ONE[0], "/standin/echo"), data=body, timeout=30)
        _must(
            answer.status_code == requests.codes.request_entity_too_large, f"{answer.status_code}"
        )
    except requests.ConnectionError:
        world.note("the connection ends within the body")
    _bounded(world)


def _half_closed(world: World) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    for data in (request, request[:9], attacks.PREFACE):
        for _ in range(50):
            attacks.exchange(_port(world), data, half_close=True)
    _bounded(world)


def _rapid_reset(world: World) -> None:
    world.note(f"{attacks.rapid_reset(_port(world), 5000)} streams")
    _bounded(world)


def _malformed(world: World) -> None:
    for name, data in attacks.MALFORMED.items():
        start = b"" if name == "preface" else attacks.PREFACE + attacks.SETTINGS
        answer = attacks.exchange(_port(world), start + data)
        _must(attacks.refused_h2(answer), f"{name}: {answer[:120]!r}")
    world.note(f"{len(attacks.MALFORMED)} cases")


def _smuggling(world: World) -> None:
    for name, data in attacks.SMUGGLING.items():
        answer = attacks.exchange(_port(world), data)
        statuses = re.findall(rb"HTTP/1\.[01] (\d+)", answer)
        _must(statuses, f"{name}: no answer")
        first = int(statuses[0])
        world.note(f"{name} {first}")
        # What is refused ends the connection: what follows is nobody's request.
        refused = first in REFUSED
        _must(not refused or len(statuses) == 1, f"{name}: {len(statuses)} answers after {first}")
        _must(refused or not _ambiguous(answer), f"{name}: the plugin got {answer!r}")


def _ambiguous(answer: bytes) -> bool:
    """Whether the echo tells of a request with two ways to find its end."""
    told = b"".join(re.findall(rb"(?i)standin-headers: ([^\r]*)", answer)).lower()
    return b"content-length" in told and b"transfer-encoding" in told


def _cancel(world: World) -> None:
    url = _url(world, ONE[0], "/finfocus.standin.v1.StandIn/Echo")
    with httpx.Client(http1=False, http2=True) as client:
        for _ in range(20):
            try:
                client.post(url, json={}, headers={"Standin-Delay": "30s"}, timeout=0.05)
            except httpx.TimeoutException:
                continue
            raise HarnessError("a request of 30 s was answered at once")
    wait_until(
        lambda: world.requests_in_flight()[ONE[0]] <= 1,
        timeout=5,
        what="the requests that were given up are gone",
    )


def _in_flight_at_stop(world: World) -> None:
    with world.in_flight(2) as failed:
        world.container.signal("SIGTERM")
        world.strike()
    _must(not failed, f"requests in flight failed: {', '.join(failed)}")


def rows() -> Iterator[Row]:
    """The rows of this file."""
    up = "no request of any region fails, the proxy holds at most 64 MiB"
    for name, done, promised, act, fast in (
        ("load-h2", "h2load: 3 × 3,000 requests, 80 at a time", up, _h2load, False),
        ("load-h1", "wrk: 3 × 20 connections as fast as they can for 2 s", up, _wrk, False),
        ("slow-loris", "200 clients send a byte of a header every 0.1 s", up, _slow_loris, True),
        ("slow-loris-ends", "one such client goes on", "408 after 10 s", _slow_loris_ends, False),
        ("large-header", "headers of 64 KiB, and 2,000 of them", "400 or 431", _large_header, True),
        ("large-body", "a body of 100 MiB", f"413; {up}", _large_body, False),
        ("half-closed", "clients that close their half", up, _half_closed, True),
        ("rapid-reset", "5,000 streams opened and reset at once", up, _rapid_reset, True),
        (
            "malformed-h2",
            "frames that RFC 9113 forbids",
            "connection or stream ends",
            _malformed,
            True,
        ),
        (
            "smuggling",
            "ambiguous messages of RFC 9112",
            "refused, or read one way",
            _smuggling,
            True,
        ),
        ("cancelled", "20 clients give up a slow request", "the plugin is told", _cancel, True),
    ):
        yield Row(
            name=f"requests-{name}",
            requirement="FR-016",
            done=done,
            promised=promised,
            act=act,
            fast=fast,
        )
    yield Row(
        name="requests-idle-connections",
        requirement="FR-016",
        done=f"{IDLE} connections to one region that say nothing",
        promised="the others answer every request, the proxy holds at most 64 MiB",
        act=_idle,
        hit=frozenset(ONE),
        recovers=15,
        fast=True,
    )
    yield Row(
        name="requests-in-flight-at-stop",
        requirement="SC-003",
        done="SIGTERM while every region works on a request of 2 s",
        promised="each is answered; gone in 5 s with code 0",
        act=_in_flight_at_stop,
        hit=EVERY,
        ends=True,
        fast=True,
    )
