"""Run executables of another architecture on this machine through QEMU, temporarily.

https://docs.kernel.org/admin-guide/binfmt-misc.html: registrations are machine-wide, so users are
counted, and the last one removes what the harness registered.
"""

import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.core.console import say
from harness.core.errors import EnvironmentMissingError, HarnessError
from harness.core.process import ensure_tools, is_root, run
from harness.core.shared_use import SharedUse
from harness.core.stages import Architecture

DIRECTORY = Path("/proc/sys/fs/binfmt_misc")
STATE = Path("/run/finfocus-image-harness/binfmt")
OURS = "finfocus-"
_DESCRIPTIONS = Path("/usr/lib/binfmt.d")  # binfmt.d(5)
_MOUNTED = "mounted-by-the-harness"
_NAMES = {Architecture.AMD64: "x86_64", Architecture.ARM64: "aarch64"}
_PARTS = 8  # ":name:type:offset:magic:mask:interpreter:flags" split at the colons


@contextmanager
def emulator(architecture: Architecture, works: Callable[[], bool]) -> Iterator[None]:
    """Run executables of `architecture` on this machine and in containers during the block.

    `works` tests whether they run. Existing registrations are used and left unchanged. Raises
    `EnvironmentMissingError` with the reason if emulation cannot be set up.
    """
    if not (platform.system() == "Linux" and is_root()):
        if not works():
            raise EnvironmentMissingError("only root on Linux may register an emulator")
        yield
        return
    with SharedUse(STATE).using(lambda: _provide(architecture, works), remove):
        yield


def remove() -> list[str]:
    """Unregister and unmount what the harness added; return the names of the entries."""
    entries = sorted(DIRECTORY.glob(f"{OURS}*"))
    for entry in entries:
        entry.write_text("-1", encoding="ascii")
    mounted = STATE / _MOUNTED
    if mounted.exists():
        # If another program has registered an emulator since, it needs the mount.
        if {path.name for path in DIRECTORY.glob("*")} <= {"register", "status"}:
            with suppress(HarnessError):
                run(["umount", str(DIRECTORY)])
        mounted.unlink()
    return [entry.name for entry in entries]


def sweep() -> list[str]:
    """Unregister what an interrupted run left; return the names of the entries."""
    found: list[str] = []
    with suppress(OSError):
        SharedUse(STATE).sweep(lambda: found.extend(remove()))
    return found


def _provide(architecture: Architecture, works: Callable[[], bool]) -> None:
    if works():
        return
    name = _NAMES[architecture]
    description = _DESCRIPTIONS / f"qemu-{name}.conf"
    if not description.exists():
        ensure_tools({f"qemu-{name}-static": "qemu-user-static"}, wanted_for="emulation")
        if works():  # the package's scripts registered it
            return
    if not description.exists():
        raise EnvironmentMissingError(f"the package qemu-user-static has no {description}")
    say(f"• registering QEMU for {architecture} with the kernel, for this run")
    try:
        _mount()
        _register(description.read_text(encoding="ascii").strip())
    except (OSError, HarnessError) as error:
        raise EnvironmentMissingError(f"the kernel rejected the emulator: {error}") from error
    if not works():
        raise EnvironmentMissingError("the engine does not use this machine's emulator")


def _mount() -> None:
    if (DIRECTORY / "register").exists():
        return
    run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(DIRECTORY)])
    (STATE / _MOUNTED).touch()


def _register(description: str) -> None:
    """Register a binfmt.d(5) line under a name that belongs to the harness."""
    parts = description.split(":")
    if len(parts) != _PARTS:
        raise EnvironmentMissingError(f"{description!r} is not a binfmt.d(5) line")
    parts[1] = f"{OURS}{parts[1]}"
    # F: the kernel opens the emulator now, so containers do not need it. P: the program receives
    # its own name, from which busybox selects the applet.
    parts[7] = "".join(sorted({*parts[7], *"FP"}))
    if not (DIRECTORY / parts[1]).exists():
        (DIRECTORY / "register").write_text(":".join(parts), encoding="ascii")
