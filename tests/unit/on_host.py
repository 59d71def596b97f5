"""Run three regions of the stand-in plugin on the host, behind the HAProxy on PATH."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.core.regions import Region
from harness.core.stages import Architecture
from harness.engine.logs import LogLine, judge
from harness.stand_ins.release import build_plugin
from tests import on_host as parts

VERSION = "v0.1.5"
NAMES = ("us-east-1", "eu-west-1", "sa-east-1")
DEADLINE = 20
REQUIRED_PROGRAMS = ("bash", "haproxy", "lua5.3", "go")

missing = [name for name in REQUIRED_PROGRAMS if not shutil.which(name)]
lua_libraries = (
    "lua5.3" not in missing
    and subprocess.run(
        ["lua5.3", "-e", 'require "posix.poll" require "cjson"'], check=False, capture_output=True
    ).returncode
    == 0
)

# Runs in the supervisor before its program; program and modules stay unchanged.
WRAPPER = """
local directory = arg[0]:match "^.*/"
package.path = directory .. "?.lua;" .. package.path
{changes}
dofile(directory .. "real/supervisor.lua")
"""


def why_not() -> str:
    """What this host lacks to run the components; empty if nothing."""
    lacking = missing or ([] if lua_libraries else ["lua-posix or lua-cjson"])
    return f"{', '.join(lacking)} is not installed" if lacking else ""


@contextmanager
def on_host(directory: Path, /, lua: str = "", **environ: str) -> Iterator[parts.OnHost]:
    """Start the components with `NAMES`; stop them afterwards if they still run.

    `lua` runs in the supervisor before its own program.
    """
    home, regions, metrics_port = install(directory)
    if lua:
        wrap(home, lua)
    with started(home, regions, metrics_port, environ) as running:
        yield running


def install(directory: Path) -> tuple[Path, tuple[Region, ...], int]:
    """Copy the image's components with the stand-in plugin for `NAMES`."""
    return parts.install(directory, dict.fromkeys(NAMES, build_plugin(VERSION, Architecture.AMD64)))


@contextmanager
def started(
    home: Path, regions: tuple[Region, ...], metrics_port: int, environ: Mapping[str, str]
) -> Iterator[parts.OnHost]:
    """Start what `install` has created."""
    given = {"FINFOCUS_IMAGE_VERSION": VERSION, **environ}
    with parts.started(home, regions, metrics_port, given) as running:
        yield running


def wrap(home: Path, lua: str) -> None:
    """Make the copied supervisor run this text first."""
    (home / "real").mkdir()
    (home / "supervisor.lua").rename(home / "real" / "supervisor.lua")
    (home / "supervisor.lua").write_text(WRAPPER.format(changes=lua), encoding="utf-8")


def lines_of(running: parts.OnHost) -> list[LogLine]:
    """Return every line so far, checked."""
    names = frozenset(NAMES)
    return [judge(raw, 0, names) for raw in running.output.read_bytes().splitlines()]


def children(running: parts.OnHost) -> dict[int, list[str]]:
    """Return the command line of each child of the supervisor."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = re.search(r"^PPid:\s*(\d+)", (path / "status").read_text(), re.MULTILINE)
            words = (path / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if parent and int(parent[1]) == running.process.pid:
                found[int(path.name)] = words
    return found


def pid_of(running: parts.OnHost, name: str) -> int:
    """Return the process ID of a region's plugin."""
    binary = f"finfocus-plugin-aws-public-{name}"
    return next(pid for pid, words in children(running).items() if words[0].endswith(binary))


def state_directory(running: parts.OnHost) -> Path:
    """Where the supervisor has its files."""
    links = Path(f"/proc/{running.process.pid}/fd").iterdir()
    return next(path.readlink().parent for path in links if path.readlink().name == "state")
