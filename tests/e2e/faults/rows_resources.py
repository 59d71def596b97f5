"""A plugin that takes too much: memory, descriptors, its port, the log, its own end."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from harness.core.errors import HarnessError
from harness.core.regions import BINARY_PREFIX, PLUGIN_PORT_OFFSET

from .row import EVERY, RESTARTS, Row
from .rows_regions import BACK, ONE, kill, order
from .world import PORT, PROXY, WRITER, World

# The kernel kills only when it can take back no page of a program's text, which slows all.
RECLAIM_SECONDS = 30


def _memory(world: World) -> None:
    _check_scores(world)
    order("memory&mib=700", ONE, world, timeout=RECLAIM_SECONDS)
    world.traffic.await_all_up(20, world.ending)
    for part in ("proxy", "log-writer"):
        if world.ends[part]:
            raise HarnessError(f"the kernel killed the {part}")


def _check_scores(world: World) -> None:
    """Who has grown is killed anyway; the score decides when all are of one size."""
    score = {
        name: int(world.shell(f"cat /proc/{world.pids(name)[0]}/oom_score_adj"))
        for name in (BINARY_PREFIX + ONE[0], PROXY, WRITER)
    }
    plugin = score.pop(BINARY_PREFIX + ONE[0])
    if plugin <= max(score.values()):
        raise HarnessError(f"oom_score_adj of a plugin is {plugin}, of the parts {score}")


def _descriptors(world: World) -> None:
    order("descriptors", ONE, world)


# Listens, and accepts nothing: the port is taken, and the region does not answer.
_THIEF = """
local s, unistd = require("posix.sys.socket"), require("posix.unistd")
local fd = s.socket(s.AF_INET, s.SOCK_STREAM, 0)
s.setsockopt(fd, s.SOL_SOCKET, s.SO_REUSEADDR, 1)
repeat until s.bind(fd, { family = s.AF_INET, addr = "127.0.0.1", port = %d }) and s.listen(fd, 9)
unistd.sleep(%d)
"""


def _steal_port(seconds: int, world: World) -> None:
    port = PORT[ONE[0]] + PLUGIN_PORT_OFFSET
    pid = world.pids(BINARY_PREFIX + ONE[0])[0]
    world.strike()
    world.in_background(f"kill -KILL {pid}; exec lua5.3 -e '{_THIEF % (port, seconds)}'")
    world.await_ended(ONE[0], 1)  # the kill, and the first start that finds its port taken
    if seconds > 1:
        world.container.wait_dead(20)


def _flood(world: World) -> None:
    world.order(ONE[0], "flood&lines=20000&size=1000")
    world.await_said("flood", 5)


def _grandchild(world: World) -> None:
    world.order(ONE[0], "grandchild&lifetime=60s&setsid=true&stubborn=true")
    kill("KILL", ONE, world)


def rows() -> Iterator[Row]:
    """The rows of this file."""
    one = frozenset(ONE)
    yield Row(
        name="region-out-of-memory",
        requirement="FR-017",
        done="one region grows to 700 MiB; the memory limit is 600 MiB",
        promised="the kernel kills it, maybe other plugins, but not the proxy; all restart",
        act=_memory,
        hit=EVERY,
        extra={"mem_limit": "600m", "memswap_limit": "600m"},
        recovers=RECLAIM_SECONDS,
    )
    yield Row(
        name="region-out-of-descriptors",
        requirement="FR-017",
        done="one region runs out of file descriptors; FINFOCUS_UNHEALTHY_SECONDS=1",
        promised=f"its health check fails, it is killed and {BACK}",
        act=_descriptors,
        hit=one,
        environ={"FINFOCUS_UNHEALTHY_SECONDS": "1"},
        recovers=20,
    )
    yield Row(
        name="region-port-stolen-for-a-while",
        requirement="FR-017",
        done="one region is killed and another process takes its port for 1 s",
        promised=f"it {BACK}",
        act=partial(_steal_port, 1),
        hit=one,
    )
    yield Row(
        name="region-port-stolen-for-good",
        requirement="FR-017",
        done="one region is killed and another process takes its port for good",
        promised=f"{RESTARTS} restarts, then the container exits with code 1 and names it",
        act=partial(_steal_port, 60),
        hit=one,
        ends=True,
        exit_code=1,
        stop_seconds=15,
        last_words=f"{ONE[0]} failed again",
    )
    yield Row(
        name="region-log-flood",
        requirement="FR-013",
        done="one region logs 20,000 lines of 1 kB at full speed",
        promised="every line arrives; the others answer every request",
        act=_flood,
        loses_lines="not counted: the flood numbers its lines too",
    )
    yield Row(
        name="region-grandchild-keeps-output",
        requirement="SC-003",
        done="one region is killed; its child ignores SIGTERM and keeps the output open",
        promised=f"it {BACK}; the container still stops in time",
        act=_grandchild,
        hit=one,
    )
