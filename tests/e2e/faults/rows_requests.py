"""What clients send: slowly, too much, half, broken, or more than they should."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import requests

from . import attacks
from .front import UP, await_done, bounded, must, port, url
from .row import Row
from .rows_regions import ONE
from .world import World

REFUSED = (400, 501, 505)
SLOW_REQUEST_SECONDS = 10  # haproxy.cfg: timeout http-request
SLOW = 200
LARGE = 100 << 20
RESETS = 5000


def _status(answer: bytes) -> int:
    """Status code of an HTTP/1 answer, 0 when it is none."""
    told = re.match(rb"HTTP/1\.[01] (\d+)", answer)
    return int(told[1]) if told else 0


def _slow_loris(world: World) -> None:
    with attacks.idle_connections(port(world), SLOW) as connections:
        attacks.drip(connections, 3)
        held = attacks.still_open(connections)
        must(held == SLOW, f"{held} of {SLOW} slow clients are left")
        must(world.metrics_status("/readyz") == 200, "/readyz is not 200 meanwhile")
    bounded(world)


def _slow_loris_ends(world: World) -> None:
    with attacks.idle_connections(port(world), 1) as connections:
        attacks.drip(connections, 0.3)
        began = time.monotonic()
        connections[0].settimeout(SLOW_REQUEST_SECONDS + 5)
        answer = connections[0].recv(1 << 12)
        took = time.monotonic() - began
        must(answer.startswith(b"HTTP/1.1 408"), f"{answer!r}")
        must(took > SLOW_REQUEST_SECONDS / 2, f"ended after {took:.1f} s")


def _large_header(world: World) -> None:
    for headers, statuses in (
        (b"X: y\r\n", (200,)),
        (b"X: " + b"x" * (1 << 16) + b"\r\n", (400, 431)),
        (b"".join(b"X-%d: y\r\n" % n for n in range(2000)), (400, 431)),
    ):
        request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n"
        answer = attacks.exchange(port(world), request)
        must(_status(answer) in statuses, f"{len(headers)} bytes of headers: {answer[:80]!r}")


def _large_body(world: World) -> None:
    announced = b"POST /standin/echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % LARGE
    told = attacks.exchange(port(world), announced)
    must(_status(told) == requests.codes.request_entity_too_large, f"{told[:80]!r}")
    body = bytes(LARGE)
    try:
        answer = requests.post(url(world, ONE[0], "/standin/echo"), data=body, timeout=30)
        must(answer.status_code == requests.codes.request_entity_too_large, f"{answer.status_code}")
    except requests.ConnectionError:
        world.note("the connection ends within the body")
    bounded(world)


def _half_closed(world: World) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    for data in (request, request[:9], attacks.PREFACE):
        for _ in range(50):
            attacks.exchange(port(world), data, half_close=True)
    bounded(world)


def _rapid_reset(world: World) -> None:
    read = attacks.rapid_reset(port(world), RESETS)
    must(read == RESETS, f"{read} of {RESETS} streams were read")
    await_done(world)
    bounded(world)


def _malformed(world: World) -> None:
    for name, data in attacks.MALFORMED.items():
        start = b"" if name == "preface" else attacks.PREFACE + attacks.SETTINGS
        answer = attacks.exchange(port(world), start + data)
        refused = _status(answer) in REFUSED if name == "preface" else attacks.refused_h2(answer)
        must(refused, f"{name}: {answer[:120]!r}")
    world.note(f"{len(attacks.MALFORMED)} cases")


def _smuggling(world: World) -> None:
    for name, data in attacks.SMUGGLING.items():
        answer = attacks.exchange(port(world), data)
        statuses = re.findall(rb"HTTP/1\.[01] (\d+)", answer)
        must(statuses, f"{name}: no answer")
        first = int(statuses[0])
        world.note(f"{name} {first}")
        # What is refused ends the connection: what follows is nobody's request.
        refused = first in REFUSED
        must(not refused or len(statuses) == 1, f"{name}: {len(statuses)} answers after {first}")
        must(refused or not _ambiguous(answer), f"{name}: the plugin got {answer!r}")


def _ambiguous(answer: bytes) -> bool:
    """Whether the echo tells of a request with two ways to find its end."""
    told = b"".join(re.findall(rb"(?i)standin-headers: ([^\r]*)", answer)).lower()
    return b"content-length" in told and b"transfer-encoding" in told


def rows() -> Iterator[Row]:
    """The rows of this file."""
    for name, done, promised, act in (
        (
            "slow-loris",
            f"{SLOW} clients send one header byte every 0.1 s",
            UP,
            _slow_loris,
        ),
        ("slow-loris-ends", "one such client continues", "408 after 10 s", _slow_loris_ends),
        ("large-header", "a 64 KiB header; 2,000 headers", "400 or 431", _large_header),
        ("large-body", "a body of 100 MiB", f"413; {UP}", _large_body),
        ("half-closed", "clients half-close their connections", UP, _half_closed),
        ("rapid-reset", f"{RESETS:,} streams opened and reset immediately", UP, _rapid_reset),
        (
            "malformed-h2",
            "frames that RFC 9113 forbids",
            "the connection or stream is closed",
            _malformed,
        ),
        (
            "smuggling",
            "messages that are ambiguous by RFC 9112",
            "rejected, or forwarded unambiguously",
            _smuggling,
        ),
    ):
        yield Row(
            name=f"requests-{name}",
            requirement="FR-016",
            done=done,
            promised=promised,
            act=act,
        )
