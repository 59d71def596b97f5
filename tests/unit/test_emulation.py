"""Emulation: registering the emulator, and stand-ins for an architecture that cannot run."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import CommandError, EnvironmentMissingError, NoProcessorError
from harness.core.shared_use import SharedUse
from harness.core.stages import Architecture
from harness.core.wait import wait_until
from harness.engine import binfmt, emulation
from harness.stand_ins.applets import applets
from harness.verify.inside import own_command
from harness.verify.limits import EMULATED, PROMISED

LINE = r":qemu-aarch64:M::\x7fELF\x02:\xff\xff\xff\xff\xff:/usr/libexec/qemu-binfmt/aarch64:OC"
OURS = "finfocus-qemu-aarch64"


class Kernel:
    """A directory in place of binfmt_misc, and an engine that runs arm64 if it is registered."""

    def __init__(self, root: Path) -> None:
        self.directory = root / "binfmt_misc"
        self.state = root / "state"
        self.descriptions = root / "binfmt.d"
        self.registered_by_others = False
        self.commands: list[str] = []
        self.descriptions.mkdir()
        self.directory.mkdir()
        (self.descriptions / "qemu-aarch64.conf").write_text(LINE + "\n")

    def works(self) -> bool:
        return self.registered_by_others or bool(self.entry())

    def entry(self) -> str:
        """Entries that are registered and not removed."""
        register, ours = self.directory / "register", self.directory / OURS
        taken_back = ours.exists() and ours.read_text() == "-1"
        return "" if taken_back or not register.exists() else register.read_text()

    def run(self, command: list[str], **_: Any) -> str:
        self.commands.append(command[0])
        if command[0] == "mount":
            (self.directory / "register").touch()
            (self.directory / "status").touch()
        return ""


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel(tmp_path)
    monkeypatch.setattr(binfmt, "DIRECTORY", made.directory)
    monkeypatch.setattr(binfmt, "STATE", made.state)
    monkeypatch.setattr(binfmt, "_DESCRIPTIONS", made.descriptions)
    monkeypatch.setattr(binfmt, "is_root", lambda: True)
    monkeypatch.setattr(binfmt, "run", made.run)
    monkeypatch.setattr(binfmt, "say", lambda text: None)
    return made


def test_registration_is_of_our_own_name_for_containers_and_taken_back(kernel: Kernel) -> None:
    """QEMU's definition, under our own name, with flags F and P; removed after the block."""
    with binfmt.emulator(Architecture.ARM64, kernel.works):
        name, *_, flags = kernel.entry()[1:].split(":")
        assert (name, flags) == (OURS, "CFOP")
        (kernel.directory / OURS).touch()  # as the kernel does
    assert (kernel.directory / OURS).read_text() == "-1"
    assert kernel.commands == ["mount"]  # the entry remains in the directory, so it stays mounted


def test_mount_of_our_own_is_undone(kernel: Kernel) -> None:
    """binfmt_misc is unmounted if the harness mounted it and nothing else is registered."""
    with binfmt.emulator(Architecture.ARM64, kernel.works):
        pass
    assert kernel.commands == ["mount", "umount"]


def test_what_was_registered_before_is_used_and_left(kernel: Kernel) -> None:
    """If emulation already works, nothing is registered, mounted or removed."""
    kernel.registered_by_others = True
    with binfmt.emulator(Architecture.ARM64, kernel.works):
        assert kernel.entry() == ""
    assert kernel.commands == []


def test_users_of_one_registration_leave_it_to_the_last(kernel: Kernel) -> None:
    """The inner of two users does not remove the registration."""
    with binfmt.emulator(Architecture.ARM64, kernel.works):
        (kernel.directory / OURS).touch()
        with binfmt.emulator(Architecture.ARM64, kernel.works):
            pass
        assert (kernel.directory / OURS).read_text() == ""
    assert (kernel.directory / OURS).read_text() == "-1"


def test_sweep_takes_back_what_a_killed_run_left(kernel: Kernel, tmp_path: Path) -> None:
    """The sweep keeps an emulator in use; after kill -9 of its user it removes it."""
    kernel.state.mkdir()
    ready = tmp_path / "ready"
    program = (
        "import sys, time\nfrom pathlib import Path\n"
        "from harness.core.shared_use import SharedUse\n"
        "with SharedUse(Path(sys.argv[1])).using(lambda: None, lambda: None):\n"
        "    Path(sys.argv[2]).touch(); time.sleep(60)\n"
    )
    user = subprocess.Popen([sys.executable, "-c", program, str(kernel.state), str(ready)])
    try:
        wait_until(ready.exists, timeout=20, what="the other process uses it")
        (kernel.directory / OURS).touch()
        assert binfmt.sweep() == []
        os.kill(user.pid, signal.SIGKILL)
        user.wait()
        assert binfmt.sweep() == [OURS]
    finally:
        user.kill()
        user.wait()


def test_sweep_without_any_run_before(kernel: Kernel) -> None:
    """A machine without any registration is left unchanged."""
    assert binfmt.sweep() == []


def refuse(*_: object, **__: object) -> str:
    raise CommandError("mount: permission denied")


def test_kernel_that_refuses_is_said_in_its_own_words(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If mounting binfmt_misc is not allowed, as in a container, the kernel's error is shown."""
    monkeypatch.setattr(binfmt, "run", refuse)
    with (
        pytest.raises(EnvironmentMissingError, match="rejected the emulator: mount: permission"),
        binfmt.emulator(Architecture.ARM64, kernel.works),
    ):
        pass


def test_engine_that_ignores_the_registration(kernel: Kernel) -> None:
    """If the engine is on another machine, this is reported and the entry removed."""
    with (
        pytest.raises(EnvironmentMissingError, match="does not use this machine's emulator"),
        binfmt.emulator(Architecture.ARM64, lambda: False),
    ):
        pass
    assert kernel.commands == ["mount", "umount"]


@pytest.mark.parametrize("works", [True, False])
def test_only_root_registers(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, *, works: bool
) -> None:
    """Without root an existing emulator is used; if there is none, it is an error."""
    monkeypatch.setattr(binfmt, "is_root", lambda: False)
    if works:
        with binfmt.emulator(Architecture.ARM64, lambda: True):
            pass
    else:
        with (
            pytest.raises(EnvironmentMissingError, match="only root"),
            binfmt.emulator(Architecture.ARM64, lambda: False),
        ):
            pass
    assert not kernel.state.exists()


class Engine:
    """An engine of one architecture that accepts no other calls."""

    architecture = "amd64"
    client = None


@contextmanager
def no_emulator(architecture: Architecture, works: object) -> Iterator[None]:
    raise EnvironmentMissingError("no binfmt_misc")
    yield


def test_without_emulation_it_is_not_proven_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The message has the architecture, the reason and the fix; exit code 3."""
    monkeypatch.setattr(emulation, "emulator", no_emulator)
    with (
        pytest.raises(NoProcessorError) as caught,
        emulation.processor_for(Engine(), "arm64"),  # type: ignore[arg-type]
    ):
        pass
    assert str(caught.value).startswith("arm64: not proven: ")
    assert "no binfmt_misc" in str(caught.value)
    assert "qemu-user-static" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3


def test_own_architecture_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the engine's own architecture no emulator is used and nothing is labelled."""
    monkeypatch.setattr(emulation, "emulator", no_emulator)
    with emulation.processor_for(Engine(), "amd64") as processor:  # type: ignore[arg-type]
        assert processor is None


@pytest.mark.parametrize("architecture", Architecture)
def test_probe_is_an_executable_of_its_architecture(architecture: Architecture) -> None:
    """The probe's header says 64-bit, little-endian, executable, and the right machine (elf(5))."""
    program = emulation._executable(architecture)
    assert program[:6] == b"\x7fELF\x02\x01"
    kind, machine = struct.unpack_from("<HH", program, 16)
    assert (kind, machine) == (2, architecture.elf_machine)


@pytest.mark.parametrize(
    ("command", "own"),
    [
        pytest.param(("/bin/a", "-x"), ("/bin/a", "-x"), id="native"),
        pytest.param(
            ("/usr/bin/qemu-aarch64-static", "/bin/busybox", "cat"), ("/bin/busybox", "cat"), id="F"
        ),
        pytest.param(
            ("/usr/libexec/qemu-binfmt/aarch64-binfmt-P", "/usr/bin/lua", "lua", "x.lua"),
            ("lua", "x.lua"),
            id="P",
        ),
        pytest.param(
            ("/run/rosetta/rosetta", "/bin/a", "/bin/a", "-x"), ("/bin/a", "-x"), id="mac"
        ),
        pytest.param(("qemu-aarch64-static",), ("qemu-aarch64-static",), id="no-program"),
    ],
)
def test_command_line_without_its_emulator(command: tuple[str, ...], own: tuple[str, ...]) -> None:
    """A process is recognized by its own name under any emulator."""
    assert own_command(command) == own


def test_applets_are_read_without_running_the_executable() -> None:
    """The names between "[" and the double NUL; an error if it is not busybox."""
    assert applets(b"\x7fELF\0x\0[\0[[\0ash\0cat\0\0rest") == ["[", "[[", "ash", "cat"]
    with pytest.raises(ValueError, match="not found"):
        applets(b"\x7fELF, something else")


def test_emulated_limits_never_look_like_the_promise() -> None:
    """SC-002, SC-003: promised limits are the product's; emulated ones are labelled as such."""
    assert (PROMISED.ready, PROMISED.stop) == (10, 5)
    assert PROMISED.seconds(PROMISED.ready).text == "≤ 10 s"
    assert EMULATED.seconds(EMULATED.ready).text == "≤ 40 s (emulated)"
    assert EMULATED.milliseconds(EMULATED.health_ms).text.endswith("(emulated)")


def test_thing_is_removed_when_it_cannot_be_made(tmp_path: Path) -> None:
    """A failed setup is rolled back, and the next user starts afresh."""
    removed: list[int] = []

    def make() -> None:
        raise EnvironmentMissingError("no")

    use = SharedUse(tmp_path)
    for _ in range(2):
        with pytest.raises(EnvironmentMissingError), use.using(make, lambda: removed.append(1)):
            pass
    assert removed == [1, 1]
