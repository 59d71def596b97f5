"""A box for a node: its own namespaces and directory on this machine, removed on close.

Processes, mounts, interfaces and firewall rules live in Linux namespaces (namespaces(7)) that end
with their first process. The kernel kills that process when this one exits for any reason. A
killed run can leave a directory and empty cgroups; `sweep_boxes` removes them.
"""

import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.core.cache import cache_directory
from harness.core.errors import EnvironmentMissingError, HarnessError
from harness.core.labels import is_orphan, run_labels
from harness.core.process import run
from harness.core.wait import wait_until

_CGROUPS = Path("/sys/fs/cgroup")
_PREFIX = "finfocus-node-"
_NAMESPACES = ("--mount", "--net", "--pid", "--uts", "--ipc")
CLOSE_SECONDS = 30

# $1 is the box's directory, which backs the usual paths of the programs in the box. Kernel settings
# outside any namespace are machine-wide and read-only here. Kubelet requires some values, so mounts
# show it those.
_SET_UP = r"""
set -eu
mount --make-rprivate /
mount --bind "$1/lib" /var/lib
mount --bind "$1/log" /var/log
mount --bind "$1/run" /run
mount -t tmpfs -o mode=0700 etcd /var/lib/etcd
mount --make-rshared /
while read -r setting value; do
  printf '%s\n' "$value" >"$1/kernel/${setting##*/}"
  mount --bind "$1/kernel/${setting##*/}" "/proc/sys/$setting"
done <<'SETTINGS'
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
SETTINGS
for tree in vm kernel fs; do
  mount --rbind "/proc/sys/$tree" "/proc/sys/$tree"
  mount -o remount,bind,ro "/proc/sys/$tree"
done
hostname "$2"
ip link set lo up
"""


class Box:
    """An open box; programs are started in it by name."""

    def __init__(self, directory: Path, cgroup: str, first: int) -> None:
        self.directory = directory
        self.cgroup = cgroup  # name under every controller's root
        self.first = first  # process ID of its first process, outside the box
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    def enter(self, command: Sequence[str]) -> list[str]:
        """The command line that runs `command` inside."""
        return ["nsenter", f"--target={self.first}", *_NAMESPACES, "--", *command]

    def run(self, command: Sequence[str], *, timeout: float = 600) -> str:
        """Run a command to its end and return its output; `CommandError` if it fails."""
        return run(self.enter(command), timeout=timeout)

    def link(self, name: str, other: "Box", other_name: str) -> None:
        """Connect the networks of two boxes with a pair of interfaces."""
        # In this machine's PID namespace, where the other box's process has its ID.
        enter = ["nsenter", f"--target={self.first}", "--net", "--"]
        pair = ["type", "veth", "peer", "name", other_name, "netns", str(other.first)]
        run([*enter, "ip", "link", "add", name, *pair])

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        environ: Mapping[str, str] | None = None,
        keep_open: Sequence[int] = (),
    ) -> None:
        """Start a program in the background; its output goes to a log of the same name.

        It inherits the file descriptors `keep_open`.
        """
        with self._log(name).open("ab") as log:
            self._started[name] = subprocess.Popen(
                self.enter(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(environ or {})},
                pass_fds=tuple(keep_open),
                start_new_session=True,
            )

    def expect_alive(self) -> bool:
        """Return True, or raise `HarnessError` with the log's end of a program that has exited."""
        for name, process in self._started.items():
            if process.poll() is not None:
                raise HarnessError(
                    f"{name} of the stand-in cluster exited with code {process.returncode}:\n"
                    + self.last_words(name)
                )
        return True

    def last_words(self, name: str, lines: int = 8) -> str:
        """The end of a program's log."""
        with suppress(OSError):
            return "\n".join(self._log(name).read_text(errors="replace").splitlines()[-lines:])
        return ""

    def logs(self) -> str:
        """The end of every program's log."""
        return "\n".join(
            f"last lines of {name}:\n{self.last_words(name)}" for name in self._started
        )

    def _log(self, name: str) -> Path:
        return self.directory / "log" / f"{name}.log"

    def close(self) -> None:
        """Kill everything inside."""
        with suppress(ProcessLookupError):
            os.kill(self.first, signal.SIGKILL)
        for process in self._started.values():
            process.wait(CLOSE_SECONDS)


@contextmanager
def open_box(hostname: str) -> Iterator[Box]:
    """A new box with only a loopback interface, for the duration of the block.

    Raises `EnvironmentMissingError` if the kernel or a container forbids namespaces.
    """
    identity = uuid.uuid4().hex[:8]
    directory = _boxes() / f"{_PREFIX}{identity}"
    for name in ("lib/etcd", "lib/kubelet", "lib/containerd", "log", "run", "kernel"):
        (directory / name).mkdir(parents=True)
    (directory / "owner").write_text("\n".join(f"{k}={v}" for k, v in run_labels().items()))
    try:
        with _first_process() as first:
            box = Box(directory, directory.name, first)
            _make_cgroups(box.cgroup)
            box.run(["sh", "-c", _SET_UP, "sh", str(directory), hostname])
            try:
                yield box
            finally:
                box.close()
    finally:
        _remove(directory)


@contextmanager
def _first_process() -> Iterator[int]:
    # The kernel kills `unshare` when this process exits, and `unshare` kills the box.
    # bash reaps the orphans that the first process of a PID namespace inherits.
    command = ["setpriv", "--pdeathsig", "KILL", "unshare", *_NAMESPACES, "--fork"]
    command += ["--kill-child", "--mount-proc", "--propagation=private"]
    command += ["bash", "-c", "sleep infinity & wait"]
    outer = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        yield wait_until(lambda: _child_of(outer), timeout=10, what="the node's namespaces exist")
    finally:
        outer.kill()
        outer.wait()
        if outer.stderr:
            outer.stderr.close()


def _child_of(outer: subprocess.Popen[bytes]) -> int:
    if outer.poll() is not None:
        words = outer.stderr.read().decode(errors="replace") if outer.stderr else ""
        raise EnvironmentMissingError(f"cannot create namespaces: {words.strip()}")
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
    # The namespaces are complete once the child is bash; before, it is a copy of `unshare`.
    for child in children:
        with suppress(OSError):
            if Path(f"/proc/{child}/comm").read_text().strip() == "bash":
                return int(child)
    return 0


def _boxes() -> Path:
    directory = cache_directory() / "nodes"
    directory.mkdir(exist_ok=True)
    return directory


def _cgroup_roots() -> list[Path]:
    """The root of every cgroup hierarchy: one for version 2, one per controller for version 1."""
    if (_CGROUPS / "cgroup.controllers").exists():
        return [_CGROUPS]
    return [p for p in sorted(_CGROUPS.iterdir()) if (p / "cgroup.procs").exists()]


def _make_cgroups(name: str) -> None:
    for root in _cgroup_roots():
        (root / name).mkdir(exist_ok=True)


def _remove(directory: Path) -> None:
    """Remove what a closed box leaves behind."""

    def gone() -> bool:
        for root in _cgroup_roots():
            for path, _, _ in os.walk(root / directory.name, topdown=False):
                with suppress(OSError):
                    Path(path).rmdir()
        return not any((root / directory.name).exists() for root in _cgroup_roots())

    wait_until(gone, timeout=CLOSE_SECONDS, what="the node's cgroups are empty")
    shutil.rmtree(directory)


def sweep_boxes() -> list[str]:
    """Remove the boxes of interrupted runs; return their names."""
    removed = []
    for directory in sorted(_boxes().glob(f"{_PREFIX}*")):
        with suppress(OSError):
            lines = (directory / "owner").read_text().splitlines()
            labels = dict(line.partition("=")[::2] for line in lines)
            if is_orphan(labels):
                _remove(directory)
                removed.append(directory.name)
    return removed
