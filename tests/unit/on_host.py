"""Three regions of the stand-in plugin on the host, behind the HAProxy that is first on PATH."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import on_host as parts
from harness.logs import LogLine, judge
from harness.model import Architecture
from harness.stand_ins.release import build_plugin

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


def why_not() -> str:
    """What this host lacks to run the parts; empty when it has all."""
    lacking = missing or ([] if lua_libraries else ["lua-posix or lua-cjson"])
    return f"{', '.join(lacking)} is not installed" if lacking else ""


@contextmanager
def on_host(directory: Path, **environ: str) -> Iterator[parts.OnHost]:
    """The parts with `NAMES`, started; stopped at the end if they still run."""
    program = build_plugin(VERSION, Architecture.AMD64)
    given = {"FINFOCUS_IMAGE_VERSION": VERSION, **environ}
    with parts.on_host(directory, dict.fromkeys(NAMES, program), given) as running:
        yield running


def lines_of(running: parts.OnHost) -> list[LogLine]:
    """Every line so far, judged."""
    names = frozenset(NAMES)
    return [judge(raw, 0, names) for raw in running.output.read_bytes().splitlines()]
