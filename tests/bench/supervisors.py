"""Compare the image's supervisor with others, with the same twelve binaries on this host.

The others only start and restart the plugins: no front proxy, no health check, no tagged log.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.core.errors import EnvironmentMissingError, HarnessError
from harness.core.process import ensure_host_tools, ensure_tools
from harness.core.regions import Region
from harness.core.temporary import temporary_directory
from harness.core.wait import wait_until
from harness.verify.probe import get_status
from tests.on_host import SERVING, on_host

from .bare import first_answers, free_ports
from .measure import Measure, measure, median

ROUNDS = 3
SECONDS = 30.0
RESTART_SECONDS = 0.25  # 0.2 s of it is the backoff before the first restart
OURS = "ours"
# The others pass the port only as a flag, which stand-ins of an old version do not support.
BY_FLAG = {"STANDIN_PORT_ORDER": "both"}
_OK = 200
_LOOP = r"""
declare -A command
start() { "$1" --port "$2" & command[$!]="$1 $2"; }
trap 'trap - TERM; kill "${!command[@]}"; wait; exit 0' TERM
while (($# > 0)); do start "$1" "$2"; shift 2; done
while true; do
  wait -n -p ended
  # shellcheck disable=SC2086
  start ${command[$ended]}
done
"""


@dataclass(frozen=True, kw_only=True)
class Life:
    """One run of a supervisor; times in seconds."""

    ready: float
    restart: float  # from SIGKILL of a plugin to its next response
    stop: float
    exit_code: int


class Prepare(Protocol):
    """Writes a supervisor's files to a directory and returns its command."""

    def __call__(self, directory: Path, programs: Mapping[int, Path]) -> list[str]:
        """`programs` maps the port that each must listen on to its path."""


def _bash_loop(directory: Path, programs: Mapping[int, Path]) -> list[str]:
    del directory
    words = [word for port, path in programs.items() for word in (str(path), str(port))]
    return ["bash", "-c", _LOOP, "bash", *words]


def _supervisord(directory: Path, programs: Mapping[int, Path]) -> list[str]:
    lines = ["[supervisord]", "nodaemon=true", f"pidfile={directory}/pid", "logfile=/dev/null"]
    lines += ["logfile_maxbytes=0", f"directory={directory}", "user=root" * (os.geteuid() == 0)]
    for port, path in programs.items():
        lines += [f"[program:region-{port}]", f"command={path} --port {port}", "startsecs=0"]
        lines += ["autorestart=true", "stdout_logfile=NONE", "stderr_logfile=NONE"]
    (directory / "supervisord.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
    program = shutil.which(
        "supervisord", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    )
    return [program or "supervisord", "--configuration", str(directory / "supervisord.conf")]


def _s6(directory: Path, programs: Mapping[int, Path]) -> list[str]:
    for port, path in programs.items():
        run = directory / f"region-{port}" / "run"
        run.parent.mkdir()
        run.write_text(f"#!/bin/sh\nexec {path} --port {port}\n", encoding="utf-8")
        run.chmod(0o755)
    return ["s6-svscan", str(directory)]


OTHERS: dict[str, Prepare] = {"bash loop": _bash_loop, "supervisord": _supervisord, "s6": _s6}


def measure_supervisors(binaries: Path, regions: Sequence[Region]) -> Iterator[Measure]:
    """Yield rows for readiness, restart and stop, compared with the available supervisors."""
    ensure_host_tools(wanted_for="the benchmark of supervisors")
    with suppress(EnvironmentMissingError):
        ensure_tools({"s6-svscan": "s6"}, wanted_for="the benchmark of supervisors")
    found = {n: p for n, p in OTHERS.items() if n != "s6" or shutil.which("s6-svscan")}
    lives: dict[str, list[Life]] = {name: [] for name in (OURS, *found)}
    for _ in range(ROUNDS):
        lives[OURS].append(_own_life(binaries, regions))
        for name, prepare in found.items():
            lives[name].append(_life(name, prepare, binaries, regions))
    codes = ", ".join(f"{name} {found[-1].exit_code}" for name, found in lives.items())
    for title, limit, pick in (
        ("supervisors on the host: ready", None, [[x.ready for x in v] for v in lives.values()]),
        (
            "supervisors: killed region answers",
            RESTART_SECONDS,
            [[x.restart for x in v] for v in lives.values()],
        ),
        (f"supervisors: stop (exit {codes})", None, [[x.stop for x in v] for v in lives.values()]),
    ):
        values = dict(zip(lives, (median(runs) for runs in pick), strict=True))
        ours = values.pop(OURS)
        yield measure(
            group="supervisors",
            name=title,
            value=ours,
            unit="s",
            beside=values,
            bound=limit,
            runs=tuple(pick[0]),
        )


def _own_life(binaries: Path, regions: Sequence[Region]) -> Life:
    programs = {region.name: binaries / region.binary for region in regions}
    with temporary_directory("bench") as directory, on_host(directory, programs, {}) as running:
        ports = [region.port for region in running.regions]
        ready = max(first_answers(ports)) - running.started_at
        victim = running.regions[0]
        restart = _kill(directory / "finfocus" / "bin" / victim.binary, victim.port)
        sent = time.monotonic()
        code = running.stop()
        return Life(ready=ready, restart=restart, stop=time.monotonic() - sent, exit_code=code)


def _life(name: str, prepare: Prepare, binaries: Path, regions: Sequence[Region]) -> Life:
    ports = free_ports(len(regions))
    paths = (binaries / region.binary for region in regions)
    programs = dict(zip(ports, paths, strict=True))
    with temporary_directory("bench") as directory:
        command = prepare(directory, programs)
        began = time.monotonic()
        with _running(name, command) as process:
            ready = max(first_answers(ports)) - began
            restart = _kill(programs[ports[0]], ports[0])
            sent = time.monotonic()
            process.send_signal(signal.SIGTERM)
            code = process.wait(SECONDS)
            return Life(ready=ready, restart=restart, stop=time.monotonic() - sent, exit_code=code)


@contextmanager
def _running(name: str, command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a supervisor in its own process group; kill the group after the block."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **SERVING, **BY_FLAG},
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise EnvironmentMissingError(f"{name} is not installed: install {command[0]}") from error
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _kill(program: Path, port: int) -> float:
    """Kill the process of `program`; return the seconds until a new one responds on `port`."""
    before = _pid_of(program)
    killed = time.monotonic()
    os.kill(before, signal.SIGKILL)
    wait_until(
        lambda: _pid_of(program, but=before) and get_status(port, "/healthz") == _OK,
        timeout=SECONDS,
        interval=0.005,
        what=f"{program.name} responds again",
    )
    return time.monotonic() - killed


def _pid_of(program: Path, *, but: int = 0) -> int:
    for path in Path("/proc").glob("[0-9]*/exe"):
        with suppress(OSError):
            if path.readlink() == program and int(path.parent.name) != but:
                return int(path.parent.name)
    if but:
        return 0
    raise HarnessError(f"no process runs {program}")
