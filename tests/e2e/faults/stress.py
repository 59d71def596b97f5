"""Stops and restarts of twelve children by the supervisor on a machine whose cores are all busy.

    python -m tests.e2e.faults.stress [--lives 1002] [--seed 0]

Each life of a supervisor: twelve tiny children start, all are killed at once and start again, then
SIGTERM. Every sixth life is stopped at a random moment of the restarts instead. The real supervisor
and log writer run; a program that only ends at a signal stands for the proxy. Counted as wrong:
a stop or a restart later than its bound, a child killed that would have obeyed, a zombie, a
descriptor left open, a child that survives, an exit code that is not 0, a last line that is lost.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness.core.regions import IMAGE_DIRECTORY
from harness.core.settings import fixed_numbers

CHILDREN = 12
NAMES = [f"region-{index}" for index in range(CHILDREN)]
BOUND = 0.25
"""Seconds that the supervisor may sleep."""
PAUSE = 0.2
"""Seconds before the first restart."""
LATE = 0.1
DEADLINE = 30
CHILD = "#!/bin/sh\nexec sleep 1000000\n"
STREAMS = [
    "supervisor",
    "proxy",
    "events",
    *(f"{n}.{end}" for n in NAMES for end in ("out", "err")),
]


@dataclass
class Result:
    """What was counted, and the seconds of each stop and restart."""

    stops: int = 0
    restarts: int = 0
    stop_seconds: list[float] = field(default_factory=list)
    restart_seconds: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def check(self, *, holds: bool, problem: str) -> None:
        """Note the problem unless it holds."""
        if not holds:
            self.problems.append(problem)

    def text(self) -> str:
        """Lines for people."""
        rows = [f"{self.stops} stops, {self.restarts} restarts, {len(self.problems)} problems"]
        for name, seconds in (("stop", self.stop_seconds), ("restart", self.restart_seconds)):
            if seconds:
                rows.append(
                    f"{name}: median {statistics.median(seconds) * 1000:.1f} ms, "
                    f"latest {max(seconds) * 1000:.1f} ms"
                )
        return "\n".join([*rows, *self.problems])


@contextmanager
def busy_cores(count: int) -> Iterator[None]:
    """So many loops that never sleep, for the block's time."""
    with ExitStack() as stack:
        for _ in range(count):
            loop = subprocess.Popen(["sh", "-c", "while :; do :; done"])
            stack.callback(loop.wait)
            stack.callback(loop.kill)
        yield


def make_home(directory: Path) -> Path:
    """A copy of the image's parts with tiny programs for plugins and proxy."""
    home = Path(shutil.copytree(IMAGE_DIRECTORY, directory / "finfocus"))
    (home / "bin").mkdir()
    for name in [*(f"finfocus-plugin-aws-public-{name}" for name in NAMES), "proxy"]:
        (home / "bin" / name).write_text(CHILD, encoding="ascii")
        (home / "bin" / name).chmod(0o755)
    return home


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Return when it holds; raises `TimeoutError` after `DEADLINE` seconds."""
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited in vain for {what}")
        time.sleep(0.005)


class Life:
    """One supervisor with its children."""

    def __init__(self, home: Path, port: int) -> None:
        # The supervisor makes its log writer's mark of the part behind the dot.
        self.state = Path(tempfile.mkdtemp(prefix="finfocus-stress.", dir="/dev/shm"))
        for name in STREAMS:
            os.mkfifo(self.state / name)
        rows = "".join(f"{name:<40} 1 {'L7OK':<16}\n" for name in NAMES)
        (self.state / "health").write_text(rows, encoding="ascii")
        settings = {
            "state": self.state,
            "lua": shutil.which("lua5.3"),
            "haproxy": home / "bin" / "proxy",
            **fixed_numbers(),
            "stable_seconds": 0,
            "startup_seconds": 999,
            "unhealthy_seconds": 999,
            "start_parallel": 0,
        }
        lines = [*(f"{k}={v}" for k, v in settings.items()), *(f"{n}:{port}" for n in NAMES)]
        script = "\n".join(["cat >&3 <<'END'", *lines, "END\n"])
        (home / "prepare.sh").write_text(script, encoding="utf-8")
        words = [f"home={home}", "metrics_port=0", "shell=/bin/bash"]
        self.output = home.parent / "output"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                ["lua5.3", "-E", home / "supervisor.lua", *words],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
            )
        assert self.process.stdin
        with self.process.stdin as environment:
            environment.write(b"PATH=/usr/bin:/bin\0")

    def table(self) -> dict[str, list[str]]:
        """The rows of the supervisor's state file: kind, state, pid, starts and so on, by name."""
        try:
            text = (self.state / "state").read_text(encoding="ascii")
        except FileNotFoundError:
            return {}
        return {row.split()[0]: row.split()[1:] for row in text.splitlines()}

    def pids(self) -> dict[str, int]:
        """Process IDs of the regions that run."""
        table = self.table()
        return {name: int(table[name][2]) for name in NAMES if table[name][2] != "-"}

    def all_have(self, starts: int) -> bool:
        """Tell whether each region is ready after so many starts, and the parts run."""
        table = self.table()
        return len(table) == CHILDREN + 2 and all(
            row[1] == "ready" and (row[0] != "region" or int(row[3]) == starts)
            for row in table.values()
        )

    def children(self) -> list[int]:
        """Every child of the supervisor, zombies included."""
        pid = self.process.pid
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def descriptors(self) -> int:
        """Open descriptors of the supervisor."""
        return sum(1 for _ in Path(f"/proc/{self.process.pid}/fd").iterdir())

    def kill_all(self) -> float:
        """SIGKILL for every region; returns the time of day."""
        pids = self.pids().values()
        moment = time.time()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        return moment

    def stop(self) -> float:
        """SIGTERM; returns the seconds to the exit."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(DEADLINE)
        return time.monotonic() - began

    def clean_up(self) -> None:
        """End it, however it went."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.state, ignore_errors=True)


def restart_all(life: Life, result: Result, late: float) -> None:
    """Kill all, and check each restart."""
    before = life.descriptors()
    killed_at = life.kill_all()
    wait_for(lambda: life.all_have(2), "twelve restarts")
    for name, row in life.table().items():
        if row[0] == "region":
            seconds = float(row[5]) - killed_at - PAUSE
            result.restarts += 1
            result.restart_seconds.append(seconds)
            result.check(
                holds=seconds <= BOUND + late, problem=f"{name} started {seconds:.3f} s late"
            )
    try:
        wait_for(lambda: len(life.children()) == CHILDREN + 2, "the end of zombies")
        wait_for(lambda: life.descriptors() == before, "descriptors to be closed")
    except TimeoutError as problem:
        result.check(holds=False, problem=str(problem))


def run_life(home: Path, port: int, result: Result, late: float, moment: float | None) -> None:
    """One life; stopped so many seconds after the kill of all, or when all have started again."""
    life = Life(home, port)
    try:
        wait_for(lambda: life.all_have(1), "twelve starts")
        if moment is None:
            restart_all(life, result, late)
        else:
            life.kill_all()
            time.sleep(moment)
        pids = life.children()
        seconds = life.stop()
        if moment is None:
            result.stops += CHILDREN
        result.stop_seconds.append(seconds)
        check_end(life, pids, result)
        result.check(holds=seconds <= BOUND + late, problem=f"a stop took {seconds:.3f} s")
    finally:
        life.clean_up()


def check_end(life: Life, pids: list[int], result: Result) -> None:
    """Check what is left of a life."""
    text = life.output.read_text(errors="replace")
    result.check(holds=life.process.returncode == 0, problem=f"exit {life.process.returncode}")
    result.check(holds="ignored SIGTERM" not in text, problem="a child that obeyed was killed")
    result.check(holds="all regions have stopped" in text, problem="the last line is lost")
    left = [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    result.check(holds=not left, problem=f"{len(left)} children survive")


def stress(lives: int, late: float = LATE, seed: int = 0) -> Result:
    """Run so many lives beside busy cores; `late` seconds above the bound is too late."""
    result, chance = Result(), random.Random(seed)
    with (
        tempfile.TemporaryDirectory(prefix="stress.") as directory,
        closing(socket.create_server(("127.0.0.1", 0), backlog=4096)) as server,
        busy_cores(os.cpu_count() or 1),
    ):
        home, port = make_home(Path(directory)), server.getsockname()[1]
        server.setblocking(False)
        for number in range(lives):
            random_moment = chance.uniform(0, 0.3) if number % 6 == 5 else None
            run_life(home, port, result, late, random_moment)
            _drain(server)
    return result


def _drain(server: socket.socket) -> None:
    """Take what the supervisor's looks have left in the queue."""
    try:
        while True:
            server.accept()[0].close()
    except BlockingIOError:
        return


def main() -> int:
    """Run, print what was counted; 1 when something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, add_help=True)
    parser.add_argument("--lives", type=int, default=1002)
    parser.add_argument("--seed", type=int, default=0, help="of the random moments of stops")
    given = parser.parse_args()
    result = stress(given.lives, seed=given.seed)
    print(result.text())
    return 1 if result.problems else 0


if __name__ == "__main__":
    sys.exit(main())
