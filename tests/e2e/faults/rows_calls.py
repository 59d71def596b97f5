"""Calls that are given up, run out of time, or are under way when the container stops."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait

import grpc
import httpx
from google.protobuf import struct_pb2

from harness.core.errors import HarnessError
from harness.core.process import ensure_tools
from harness.core.wait import wait_until

from . import attacks
from .front import await_done, must, port, url, wrk
from .row import EVERY, STOP_SECONDS, Row
from .rows_regions import ONE
from .world import NAMES, World

SERVICE = "/finfocus.standin.v1.StandIn"
CALLS = 20
CLIENTS = 4  # of each region
ASKED_SECONDS, ASKED = 3, 50
DEADLINE_SECONDS = 2.0
DEADLINE_EXCEEDED = "4"  # https://grpc.io/docs/guides/status-codes/
MESSAGES, INTERVAL_MS = 20, 100  # a stream of 2 s
ENDLESS = 6000


def _cancel(world: World) -> None:
    with httpx.Client(http1=False, http2=True) as client:
        for _ in range(CALLS):
            try:
                client.post(
                    url(world, ONE[0], f"{SERVICE}/Echo"),
                    json={},
                    headers={"Standin-Delay": "30s"},
                    timeout=0.05,
                )
            except httpx.TimeoutException:
                continue
            raise HarnessError("a request of 30 s was answered at once")
    await_done(world)


def _deadline(world: World) -> None:
    """The client waits for longer than it says: only the plugin can end the calls in time."""
    fields = {
        "content-type": "application/grpc",
        "te": "trailers",
        "grpc-timeout": f"{DEADLINE_SECONDS:.0f}S",
        "standin-delay": "30s",
    }
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(
            attacks.calls, port(world), f"{SERVICE}/Echo", fields, CALLS, DEADLINE_SECONDS + 4
        )
        wait_until(
            lambda: asked.done() or world.requests_in_flight()[ONE[0]] >= CALLS,
            timeout=DEADLINE_SECONDS,
            what="the calls have reached the plugin",
        )
        statuses = asked.result()
    world.note(f"grpc-status of {len(statuses)} calls: {', '.join(sorted(set(statuses)))}")
    must(statuses == [DEADLINE_EXCEEDED] * CALLS, f"grpc-status: {statuses}")
    await_done(world)


class _Stream:
    """A server stream of one region, read by a thread until it ends."""

    def __init__(self, world: World, name: str, count: int) -> None:
        self.name = name
        self.began = threading.Event()
        self.messages = 0
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port(world, name)}")
        self._order = struct_pb2.Struct()
        self._order.update({"count": count, "interval_ms": INTERVAL_MS})

    def read(self) -> str:
        """How it ended, in words; returns at the end."""
        with self._channel as channel:
            call = channel.unary_stream(
                f"{SERVICE}/Stream",
                request_serializer=struct_pb2.Struct.SerializeToString,
                response_deserializer=struct_pb2.Struct.FromString,
            )(self._order, timeout=60)
            try:
                for _ in call:
                    self.messages += 1
                    self.began.set()
            except grpc.RpcError:
                self.began.set()
            return str(call.code().name)


def _streams_at_stop(world: World, count: int) -> list[tuple[_Stream, str]]:
    """Streams of every region, under way at SIGTERM, and how each ended."""
    streams = [_Stream(world, name, count) for name in NAMES]
    with ThreadPoolExecutor(len(streams)) as pool:
        ends: list[Future[str]] = [pool.submit(stream.read) for stream in streams]
        for stream in streams:
            must(stream.began.wait(5) and stream.messages, f"{stream.name}: no stream")
        world.container.signal("SIGTERM")
        world.strike()
        _, running = wait(ends, STOP_SECONDS + 5)
        must(not running, f"{len(running)} streams go on")
    return [(stream, end.result()) for stream, end in zip(streams, ends, strict=True)]


def _short_streams(world: World) -> None:
    bad = [
        f"{stream.name}: {stream.messages} of {MESSAGES} messages, {end}"
        for stream, end in _streams_at_stop(world, MESSAGES)
        if (stream.messages, end) != (MESSAGES, "OK")
    ]
    must(not bad, "; ".join(bad))


def _endless_streams(world: World) -> None:
    ends = [end for _, end in _streams_at_stop(world, ENDLESS)]
    world.note(f"the streams end with {', '.join(sorted(set(ends)))}")
    must("OK" not in ends, "a stream was broken off and the client was told that it is whole")


def _in_flight_at_stop(world: World) -> None:
    with world.in_flight(2) as failed:
        world.container.signal("SIGTERM")
        world.strike()
    must(not failed, f"requests in flight failed: {', '.join(failed)}")


def _asked_at_stop(world: World) -> None:
    """No answer at all is as it should be: the front is closed."""
    ensure_tools({"wrk": "wrk"}, wanted_for="requests at the stop")

    before = world.requests_answered()
    with ThreadPoolExecutor(len(NAMES)) as pool:
        asked = [pool.submit(wrk, url(world, name), CLIENTS, ASKED_SECONDS) for name in NAMES]
        wait_until(
            lambda: min((world.requests_answered() - before).values()) > ASKED,
            timeout=ASKED_SECONDS,
            what="every region is asked",
        )
        world.container.signal("SIGTERM")
        world.strike()
    told = [client.result() for client in asked]
    world.note(f"{sum(count for count, _ in told)} answers")
    errors = [line.strip() for _, text in told for line in text.splitlines() if "Non-2xx" in line]
    must(not errors, "; ".join(errors))


def rows() -> Iterator[Row]:
    """The rows of this file."""
    for name, done, promised, act in (
        ("cancelled", f"{CALLS} clients cancel a slow request", "the plugin is notified", _cancel),
        (
            "deadline",
            f"{CALLS} gRPC calls that take 30 s, with a grpc-timeout of 2 s",
            "the plugin ends each with DEADLINE_EXCEEDED; none keeps running",
            _deadline,
        ),
    ):
        yield Row(
            name=f"requests-{name}",
            requirement="FR-016",
            done=done,
            promised=promised,
            act=act,
        )
    yield Row(
        name="requests-asked-at-stop",
        requirement="SC-003",
        done=f"SIGTERM while wrk runs at full speed, {CLIENTS} connections to each region",
        promised="no response is an error; later requests get no response; exit code 0",
        act=_asked_at_stop,
        hit=EVERY,
        ends=True,
    )
    for name, done, promised, act in (
        ("in-flight", "a 2 s request", "each is answered", _in_flight_at_stop),
        ("streams", "a 2 s gRPC stream", "each is delivered in full", _short_streams),
        (
            "endless-streams",
            "an endless gRPC stream",
            "each is aborted, not ended with OK",
            _endless_streams,
        ),
    ):
        yield Row(
            name=f"requests-{name}-at-stop",
            requirement="SC-003",
            done=f"SIGTERM while every region handles {done}",
            promised=f"{promised}; exits with code 0 within 5 s",
            act=act,
            hit=EVERY,
            ends=True,
            killed_at_stop=len(NAMES) if name == "endless-streams" else 0,
        )
