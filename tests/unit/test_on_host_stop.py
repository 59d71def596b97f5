"""What clients of kept connections see of a stop, on the host with the stand-in plugin."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from http.client import OK, HTTPConnection
from pathlib import Path
from threading import Event

import pytest

from harness.core.wait import wait_until
from tests.on_host import OnHost

from .on_host import DEADLINE, on_host, why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")

NAME = "/finfocus.v1.CostSourceService/Name"
REGION = "us-east-1"
CLIENTS = 60
PAUSE_SECONDS = 0.4
END_SECONDS = 5
ANNOUNCED = "SIGUSR2: connections end with their next response"


def call(client: HTTPConnection) -> bool:
    """Send a call that must succeed; return whether its response ends the connection."""
    client.request("POST", NAME, b"{}", {"content-type": "application/json"})
    answer = client.getresponse()
    answer.read()
    assert answer.status == OK
    return answer.will_close


def call_until_told(port: int, given_up: Event) -> None:
    """Call over one connection until a response ends it."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=DEADLINE)) as client:
        while not call(client):
            assert not given_up.wait(random.uniform(0, PAUSE_SECONDS)), "never ended"


@contextmanager
def kept_connections(running: OnHost) -> Iterator[list[Future[None]]]:
    """Clients that call over kept connections, each at least once before the block."""
    before, given_up = open_connections(running), Event()
    with ThreadPoolExecutor(CLIENTS) as pool:
        port = running.port(REGION)
        found = [pool.submit(call_until_told, port, given_up) for _ in range(CLIENTS)]
        try:
            wait_until(
                lambda: open_connections(running) >= before + CLIENTS,
                timeout=DEADLINE,
                interval=0.05,
                what="every client has a connection",
            )
            yield found
        finally:
            given_up.set()


def open_connections(running: OnHost) -> int:
    """How many connections clients have to the region."""
    with closing(HTTPConnection("127.0.0.1", running.metrics_port, timeout=DEADLINE)) as client:
        client.request("GET", "/metrics", headers={"connection": "close"})
        text = client.getresponse().read().decode()
    name = f'finfocus_region_connections{{finfocus_region="{REGION}"}} '
    return next(int(line[len(name) :]) for line in text.splitlines() if line.startswith(name))


def failures(clients: list[Future[None]]) -> list[BaseException]:
    """Return what went wrong, after every client has ended."""
    assert not wait(clients, END_SECONDS).not_done, "some connections do not end"
    return [error for client in clients if (error := client.exception())]


def test_sc_003_an_announced_stop_moves_clients_before_it_comes(tmp_path: Path) -> None:
    """SC-003: after SIGUSR2 connections end one by one, and new ones are still served."""
    with on_host(tmp_path) as running:
        running.await_ready()
        with kept_connections(running) as clients:
            running.process.send_signal(signal.SIGUSR2)
            assert failures(clients) == []
        with closing(HTTPConnection("127.0.0.1", running.port(REGION), timeout=DEADLINE)) as client:
            assert call(client), "a new connection is not ended"
        running.process.send_signal(signal.SIGUSR2)
        assert running.stop() == 0
        assert running.text().count(ANNOUNCED) == 1


def test_sc_003_a_stop_lets_clients_go_with_a_response(tmp_path: Path) -> None:
    """SC-003: after SIGTERM without an announcement, a connection in use ends with a response."""
    with on_host(tmp_path) as running:
        running.await_ready()
        with kept_connections(running) as clients:
            running.process.send_signal(signal.SIGTERM)
            assert failures(clients) == []
        assert running.process.wait(END_SECONDS) == 0
