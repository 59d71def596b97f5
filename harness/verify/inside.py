"""Inspect a running container through its own shell."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass

from harness.core.errors import HarnessError
from harness.core.regions import Region
from harness.engine.container import RunningContainer

_EMULATOR = re.compile(r"/(qemu-[^/]+|[^/]+-binfmt(-P)?|rosetta)$")
_PROCESSES = r"""
for process in /proc/[0-9]*; do
  [ -r "$process/cmdline" ] || continue
  command=$(tr '\0' '\t' <"$process/cmdline") && [ -n "$command" ] || continue
  uid=$(awk '/^Uid:/ { print $2 }' "$process/status")
  printf '%s\t%s\t%s\n' "${process#/proc/}" "$uid" "$command"
done
"""


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process inside the container."""

    pid: int
    uid: int
    command: tuple[str, ...]


def shell(container: RunningContainer, script: str, *, user: str = "") -> str:
    """Output of a shell script inside; `HarnessError` if it fails."""
    code, output = container.execute(["sh", "-c", script], user=user)
    text = output.decode(errors="replace")
    if code != 0:
        raise HarnessError(f"a shell in the container failed (exit {code}): {text.strip()[-300:]}")
    return text


def processes(container: RunningContainer) -> tuple[Process, ...]:
    """Every process that has a command line."""
    rows = [line.split("\t") for line in shell(container, _PROCESSES).splitlines()]
    return tuple(
        Process(
            pid=int(row[0]),
            uid=int(row[1]),
            command=own_command(tuple(part for part in row[2:] if part)),
        )
        for row in rows
        if len(row) > 2 and row[0].isdecimal() and row[1].isdecimal()  # noqa: PLR2004
    )


def own_command(command: tuple[str, ...]) -> tuple[str, ...]:
    """A command line without the emulator that the kernel prepended.

    https://docs.kernel.org/admin-guide/binfmt-misc.html: the emulator and the program's path
    replace the program's own name, which follows them if the emulator is registered with P.
    """
    if len(command) < 2 or not _EMULATOR.search(command[0]):  # noqa: PLR2004
        return command
    path, *rest = command[1:]
    name = path.rpartition("/")[2]
    return tuple(rest) if rest and rest[0].rpartition("/")[2] == name else (path, *rest)


def plugins(container: RunningContainer, regions: Sequence[Region]) -> dict[str, int]:
    """Process ID of each region's binary, for the regions that run."""
    names = {region.binary: region.name for region in regions}
    found = {}
    for process in processes(container):
        program = process.command[0].rpartition("/")[2] if process.command else ""
        if program in names:
            found[names[program]] = process.pid
    return found


def environment(container: RunningContainer, pid: int) -> dict[bytes, bytes]:
    """The environment that process `pid` was started with, byte for byte (proc(5)).

    For a duplicate name the first value counts, as in getenv(3) and Go.
    """
    text = shell(container, f"base64 </proc/{pid}/environ")
    entries = base64.b64decode("".join(text.split())).split(b"\0")
    return dict(entry.partition(b"=")[::2] for entry in reversed(entries) if entry)
