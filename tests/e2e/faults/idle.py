"""Connections from inside that say nothing, counted by the kernel."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from harness.core.wait import wait_until

from .front import must
from .world import PROXY, World

FILES = 16384
OPEN_SECONDS = 20
# From inside: between the client and the container there may be a proxy of the engine's.
_OPEN = """
local s = require("posix.sys.socket")
local fcntl, unistd = require("posix.fcntl"), require("posix.unistd")
local ports = { %s }
for i = 0, %d - 1 do
  local fd = s.socket(s.AF_INET, s.SOCK_STREAM, 0)
  fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.O_NONBLOCK)
  s.connect(fd, { family = s.AF_INET, addr = "127.0.0.1", port = ports[i %% #ports + 1] })
end
io.open("/dev/shm/opened", "w"):close()
unistd.sleep(600)
"""
_MARK = "posix.sys.socket"  # in the opener's command line only
# https://www.kernel.org/doc/Documentation/networking/proc_net_tcp.txt: local, remote, state.
_ROW = re.compile(r"^ *\d+: [0-9A-F]{8}:[0-9A-F]{4} 0100007F:([0-9A-F]{4}) ([0-9A-F]{2}) ", re.M)
_ESTABLISHED, _SYN_SENT, _TIME_WAIT = "01", "02", "06"


@contextmanager
def idle_inside(world: World, ports: Sequence[int], count: int) -> Iterator[None]:
    """`count` connections, spread over `ports`, for the time of the block.

    The proxy closes those that are more than it accepts.
    """
    script = _OPEN % (", ".join(map(str, ports)), count)
    world.in_background(f"ulimit -n {FILES} && exec lua5.3 -e '{script}'")
    try:
        wait_until(
            lambda: "yes" in world.shell("test ! -e /dev/shm/opened || echo yes"),
            timeout=OPEN_SECONDS,
            what=f"{count} connections are on their way",
            explain=lambda: str(_states(world, ports)),
        )
        states = _states(world, ports)
        world.note(
            f"{count} opened: {states[_ESTABLISHED]} are there, {states[_SYN_SENT]} on their way;"
            f" the proxy holds {proxy_files(world)} files"
        )
        yield
        must(world.pids(_MARK), "the opener ended before its connections were judged")
    finally:
        if pids := world.pids(_MARK):
            world.shell(f"kill -KILL {' '.join(map(str, pids))}")


def _states(world: World, ports: Sequence[int]) -> Counter[str]:
    """The opener's connections by state."""
    rows = _ROW.findall(world.shell("cat /proc/net/tcp"))
    # What waits for late packets is a health check that is done, not one of the opener's.
    return Counter(st for port, st in rows if int(port, 16) in ports and st != _TIME_WAIT)


def proxy_files(world: World) -> int:
    """How many files the proxy has open; each connection of a client is one."""
    script = f"set -- /proc/{world.pids(PROXY)[0]}/fd/*; echo $#"
    return int(world.shell(script))
