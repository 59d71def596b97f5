"""The processes inside a container."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from harness.core.errors import HarnessError
from harness.engine.container import RunningContainer

# Builtins only, so that one look is one process. The first words of a command line tell who it is.
_FIND = r"""
for directory in /proc/[0-9]*; do
  pid=${directory#/proc/} words=''
  ((pid != $$)) || continue
  while IFS= read -r -d '' word; do
    words+="${word//[[:space:]]/ } "
  done 2>/dev/null <"$directory/cmdline"
  read -r _ _ state parent _ 2>/dev/null <"$directory/stat" || continue
  [[ -z $words ]] || printf '%s %s %s %s\n' "$pid" "$parent" "$state" "$words"
done
"""


class Process(NamedTuple):
    """A process inside."""

    pid: int
    parent: int
    state: str  # proc(5): R, S, T and so on
    words: str  # its command line


def processes_in(container: RunningContainer) -> list[Process]:
    """Everything that runs inside but this look."""
    code, output = container.execute(["bash", "-c", _FIND])
    text = output.decode(errors="replace")
    if code != 0:
        raise HarnessError(f"cannot look at the processes: {text}")
    rows = [line.split(" ", 3) for line in text.splitlines()]
    return [Process(int(row[0]), int(row[1]), row[2], row[3]) for row in rows]


def pids_of(processes: Sequence[Process], names: Sequence[str]) -> list[int]:
    """Process IDs whose command line has one of `names`."""
    return [process.pid for process in processes if any(name in process.words for name in names)]
