"""Labels on everything the harness creates, so that people and `sweep` can identify it."""

import os
import uuid
from collections.abc import Mapping
from pathlib import Path

RUN = "com.finfocus.harness.run"
OWNER = "com.finfocus.harness.owner"
REGIONS = "com.finfocus.image.regions"
STAND_INS = "com.finfocus.image.stand-ins"
BASE_NAME = "org.opencontainers.image.base.name"
STAND_IN = "com.finfocus.stand-in"


def process_identity(pid: int) -> str | None:
    """Text that identifies process `pid` and no later process; None if it has exited.

    It has the boot ID and start time (proc(5)), because process IDs are reused.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        # No /proc (macOS): the process ID must suffice.
        return f"{pid}" if _exists(pid) and not Path("/proc/self").exists() else None
    state, started = stat.rpartition(")")[2].split()[0], stat.rpartition(")")[2].split()[19]
    return None if state in "ZX" else f"{pid}.{started}.{boot}"


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _boot(identity: str) -> str:
    return identity.rpartition(".")[2] if "." in identity else ""


def own_identity() -> str:
    """The identity of this process."""
    return process_identity(os.getpid()) or str(os.getpid())


def run_labels() -> dict[str, str]:
    """Labels for one object that this process creates and will remove."""
    return {RUN: uuid.uuid4().hex, OWNER: own_identity()}


def is_orphan(labels: Mapping[str, str], *, running: bool = False) -> bool:
    """Whether the process that created an object with `labels` has exited.

    A `running` object from another boot belongs to another machine and is never an orphan.
    """
    owner = labels.get(OWNER)
    if owner is None or (running and _boot(owner) != _boot(own_identity())):
        return False
    pid = owner.partition(".")[0]
    return not pid.isdecimal() or process_identity(int(pid)) != owner
