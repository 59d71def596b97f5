"""What the rows that send requests to the front share."""

from __future__ import annotations

import re

from harness.core.errors import HarnessError
from harness.core.process import run
from harness.core.wait import wait_until

from .rows_regions import ONE
from .world import PORT, PROXY, World

PROXY_KIB = 64 * 1024  # what the proxy may hold
UP = "no request to any region fails; the proxy uses at most 64 MiB"


def url(world: World, name: str, path: str = "/healthz") -> str:
    """URL of a region's published port."""
    return world.container.url(PORT[name], path)


def port(world: World, name: str = ONE[0]) -> int:
    """A region's published port."""
    return world.container.host_ports[PORT[name]]


def must(condition: object, problem: str) -> None:
    """Raise with `problem` unless `condition` holds."""
    if not condition:
        raise HarnessError(problem)


def wrk(where: str, connections: int, seconds: int) -> tuple[int, str]:
    """How many answers wrk got that asked as fast as it could, and its own words."""
    text = run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", where])
    return sum(map(int, re.findall(r"(\d+) requests in", text))), text


def await_done(world: World, name: str = ONE[0]) -> None:
    """Return when the plugin works on no more than the row's own requests, one at a time."""
    wait_until(
        lambda: world.requests_in_flight()[name] <= 1,
        timeout=5,
        what="the requests that were given up are gone",
    )


def bounded(world: World) -> None:
    """Note what the proxy holds (proc(5), VmRSS); raise when it is too much."""
    text = world.shell(f"cat /proc/{world.pids(PROXY)[0]}/status")
    held = int(re.findall(r"(?m)^VmRSS:\s+(\d+)", text)[0])
    world.note(f"proxy {held // 1024} MiB")
    must(held <= PROXY_KIB, f"the proxy holds {held} KiB, more than {PROXY_KIB}")
