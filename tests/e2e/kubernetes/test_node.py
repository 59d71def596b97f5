"""The stand-in node leaves nothing behind, however its run ends; and the smoke test on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.core.proof import Status
from harness.core.regions import load_regions
from harness.core.stages import BuiltImage
from harness.core.wait import wait_until
from harness.engine.provision import Engine
from harness.kubernetes.acceptance import REQUIRED, SmokeOptions, smoke
from harness.kubernetes.clusters import ClusterKind
from harness.report import write_reports
from harness.stand_ins.cluster.box import open_box, sweep_boxes

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may make namespaces")
# Its programs are compiled once per machine, which takes 15 minutes.
needs_a_node = pytest.mark.skipif(
    not os.environ.get("FINFOCUS_KUBERNETES"),
    reason="no Kubernetes node in the default run: nox -s smoke, or FINFOCUS_KUBERNETES=1",
)
_PROGRAM = """
import signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # also when pytest itself ignores it
from harness.stand_ins.cluster.box import open_box
with open_box("test") as box:
    box.run(["ip", "link", "add", "node0", "type", "bridge"])
    box.start("sleeper", ["sleep", "1000"])
    print(box.directory, flush=True)
    time.sleep(1000)
"""


@pytest.fixture
def _own_boxes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def processes_of(directory: Path) -> list[str]:
    """Return the processes that still see the box's mounts."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            mounts = (process / "mountinfo").read_text(encoding="utf-8")
        except OSError:
            continue
        if directory.name in mounts:
            found.append(process.name)
    return found


def cgroups_of(directory: Path) -> list[Path]:
    root = Path("/sys/fs/cgroup")  # version 2, or a directory per controller
    return [*root.glob(directory.name), *root.glob(f"*/{directory.name}")]


@needs_root
@pytest.mark.usefixtures("_own_boxes")
@pytest.mark.parametrize(
    "end",
    [pytest.param(signal.SIGINT, id="Ctrl+C"), pytest.param(signal.SIGKILL, id="kill-9")],
)
def test_nothing_of_a_node_remains(end: signal.Signals) -> None:
    """Processes and mounts end with the run; after kill -9 the sweep removes them."""
    with subprocess.Popen([sys.executable, "-c", _PROGRAM], stdout=subprocess.PIPE) as owner:
        assert owner.stdout
        directory = Path(owner.stdout.readline().decode().strip())
        assert processes_of(directory)
        assert cgroups_of(directory)
        owner.send_signal(end)
        owner.wait(30)
    wait_until(lambda: not processes_of(directory), timeout=10, what="every process is gone")
    swept = sweep_boxes()
    assert swept == ([directory.name] if end == signal.SIGKILL else [])
    assert not directory.exists()
    assert not cgroups_of(directory)


@needs_root
@pytest.mark.usefixtures("_own_boxes")
def test_a_running_node_is_not_swept() -> None:
    """The sweep keeps what belongs to a live run."""
    with open_box("test") as box:
        assert sweep_boxes() == []
        assert box.directory.exists()
    assert not box.directory.exists()


@needs_root
@pytest.mark.usefixtures("_own_boxes")
def test_a_node_changes_nothing_of_the_machine() -> None:
    """The machine's kernel settings and interfaces stay unchanged."""

    def settings() -> list[str]:
        names = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops")
        return [Path("/proc/sys", name).read_text(encoding="utf-8") for name in names]

    before = settings()
    with open_box("test") as box:
        box.run(["ip", "link", "add", "node0", "type", "bridge"])
        assert box.run(["cat", "/proc/sys/kernel/panic"]) == "10\n"
        assert "node0" in box.run(["ip", "link", "show"])
        assert not Path("/sys/class/net/node0").exists()
        assert settings() == before


@needs_a_node
def test_us_1_the_manifests_work_on_a_real_node(
    engine: Engine, image: BuiltImage, output: Path
) -> None:
    """US-1 (an operator applies a manifest): the smoke test passes and names the stand-in node."""
    options = SmokeOptions(kind=ClusterKind.STAND_IN)
    found = smoke(engine, image.reference, load_regions(), options, stand_ins=image.stand_ins)
    write_reports(found, output / "smoke", environ={})
    assert found.proven, [check for check in found.checks if check.status is Status.FAILED]
    assert not found.requirements_without_check(REQUIRED)
    assert "cluster" in {stand_in.kind for stand_in in found.stand_ins}
