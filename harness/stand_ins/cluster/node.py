"""A temporary real Kubernetes node: control plane, kubelet and container runtime."""

import hashlib
import io
import json
import platform
import socket
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.core.console import step
from harness.core.errors import HarnessError
from harness.core.process import run
from harness.core.proof import StandIn
from harness.core.wait import wait_until
from harness.stand_ins.cluster import forward, settings
from harness.stand_ins.cluster.box import Box, open_box, sweep_boxes
from harness.stand_ins.cluster.programs import Programs, node_programs
from harness.stand_ins.cluster.settings import Settings

START_SECONDS = 180


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node that is ready, and how to reach it."""

    box: Box
    kubeconfig: Path  # administrator access, on this machine's loopback
    kubectl: str  # program of the same version

    def load(self, archive: Path) -> None:
        """Put the images of a `docker save` archive on the node."""
        _ctr(self.box, "import", str(archive))

    def stand_in(self) -> StandIn:
        """Its description in reports."""
        return StandIn(
            kind="cluster",
            replaces="a cluster of several machines",
            why="no kubeconfig context was given; a real single-machine node was started:"
            " kube-apiserver, etcd, controller manager, scheduler, kubelet, kube-proxy, containerd,"
            " and kube-router for network policies",
        )


@contextmanager
def kubernetes_node() -> Iterator[Node]:
    """A ready node for the duration of the block; nothing of it remains.

    Needs root and Linux. Raises `EnvironmentMissingError` if its programs are unavailable or
    namespaces are forbidden, and `HarnessError` with the end of their logs if they fail.
    """
    sweep_boxes()
    programs = node_programs()
    with open_box(settings.NODE) as box:
        with step("starting a Kubernetes node") as progress:
            files = Settings(run=box.directory / "run", cgroup=box.cgroup)
            files.write()
            for part in (_network, _control_plane, _runtime, _agents):
                progress.news(part.__name__.strip("_").replace("_", " "))
                part(box, programs, files)
            port = _reach(box)
            kubeconfig = box.directory / "admin.kubeconfig"
            files.write_kubeconfig(kubeconfig, "admin", port)
            node = Node(box=box, kubeconfig=kubeconfig, kubectl=programs.path("kubectl"))
            _await(box, "the node is ready", lambda: _is_ready(node))
            box.start("kube-router", settings.policies(str(programs.policies)))  # reads the node
        yield node


def _network(box: Box, _: Programs, __: Settings) -> None:
    """Add the node's address and a route, which kubelet and pods require."""
    box.run(["ip", "link", "add", "node0", "type", "bridge"])
    box.run(["ip", "address", "add", f"{settings.NODE_ADDRESS}/24", "dev", "node0"])
    box.run(["ip", "link", "set", "node0", "up"])
    box.run(["ip", "route", "add", "default", "dev", "node0"])


def _control_plane(box: Box, programs: Programs, files: Settings) -> None:
    key = files.run / "kubernetes" / "accounts.key"
    run(["openssl", "genrsa", "-out", str(key), "2048"])
    box.start("etcd", settings.etcd())
    box.start("kube-apiserver", settings.api_server(programs.path("kube-apiserver")))
    certificate = files.run / settings.API_CERTIFICATE
    _await(box, "the API server has a certificate", certificate.exists)
    files.write_access()
    kubectl = [programs.path("kubectl"), "--kubeconfig=/run/kubernetes/admin.kubeconfig"]
    _await(
        box, "the API server is ready", lambda: _succeeds(box, [*kubectl, "get", "--raw=/readyz"])
    )
    for name, command in (
        ("kube-controller-manager", settings.controller_manager),
        ("kube-scheduler", settings.scheduler),
    ):
        box.start(name, command(programs.path(name)))


def _runtime(box: Box, programs: Programs, files: Settings) -> None:
    box.start("containerd", settings.containerd())
    socket_file = files.run / settings.CONTAINERD_SOCKET.removeprefix("/run/")
    _await(
        box,
        "containerd answers",
        lambda: socket_file.exists() and _succeeds(box, ["ctr", "version"]),
    )
    archive = box.directory / "pause.tar"
    _write_pause_image(programs.directory / "pause", archive)
    _ctr(box, "import", str(archive))


def _agents(box: Box, programs: Programs, _: Settings) -> None:
    box.start("kubelet", settings.kubelet(programs.path("kubelet")))
    box.start("kube-proxy", settings.proxy(programs.path("kube-proxy")))


def _reach(box: Box) -> int:
    """Port on this machine's loopback that forwards to the API server in the box."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        fd = listening.fileno()
        command = [sys.executable, "-I", str(Path(forward.__file__)), str(fd)]
        box.start("forward", [*command, str(settings.API_PORT)], keep_open=[fd])
        port: int = listening.getsockname()[1]
    return port


def _is_ready(node: Node) -> bool:
    kubectl = [node.kubectl, f"--kubeconfig={node.kubeconfig}"]
    try:
        text = run([*kubectl, "get", "node", settings.NODE, "-o", "json"], timeout=10)
    except HarnessError:
        return False
    found = json.loads(text)
    conditions = found["status"].get("conditions", [])
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return ready and not found["spec"].get("taints")


def _await(box: Box, what: str, condition: Callable[[], object]) -> None:
    wait_until(
        lambda: box.expect_alive() and condition(),
        timeout=START_SECONDS,
        interval=0.2,
        what=what,
        explain=box.logs,
    )


def _succeeds(box: Box, command: list[str]) -> bool:
    try:
        box.run(command, timeout=10)
    except HarnessError:
        return False
    return True


def _ctr(box: Box, *arguments: str) -> None:
    box.run(["ctr", "--namespace=k8s.io", "images", *arguments])


def _write_pause_image(program: Path, archive: Path) -> None:
    """Write a single-file image in the format of `docker save` (Docker image spec v1.2)."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        entry = tarfile.TarInfo("pause")
        entry.size, entry.mode = program.stat().st_size, 0o755
        with program.open("rb") as file:
            tar.addfile(entry, file)
    files = {
        "layer.tar": layer.getvalue(),
        "config.json": _pause_config(layer.getvalue()),
        "manifest.json": json.dumps(
            [{"Config": "config.json", "RepoTags": [settings.PAUSE_IMAGE], "Layers": ["layer.tar"]}]
        ).encode(),
    }
    with tarfile.open(archive, "w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


def _pause_config(layer: bytes) -> bytes:
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), "amd64")
    return json.dumps(
        {
            "architecture": architecture,
            "os": "linux",
            "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"],
            },
        }
    ).encode()
