"""A temporary real Kubernetes cluster on this machine: a control plane and two nodes."""

import json
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.core.console import step
from harness.core.errors import HarnessError
from harness.core.process import run
from harness.core.proof import StandIn
from harness.stand_ins.cluster import forward, settings
from harness.stand_ins.cluster.box import Box, open_box, sweep_boxes
from harness.stand_ins.cluster.metrics import serve_metrics
from harness.stand_ins.cluster.node import Node, connect
from harness.stand_ins.cluster.programs import Programs, node_programs
from harness.stand_ins.cluster.settings import PLACES, Settings


@dataclass(frozen=True, kw_only=True)
class StandInCluster:
    """A cluster whose nodes are ready, and how to reach it."""

    nodes: Sequence[Node]
    kubeconfig: Path  # administrator access, on this machine's loopback
    kubectl: str  # program of the same version

    def load(self, archive: Path) -> None:
        """Put the images of a `docker save` archive on every node."""
        for node in self.nodes:
            node.load(archive)

    def stand_in(self) -> StandIn:
        """Its description in reports."""
        return StandIn(
            kind="cluster",
            replaces="a cluster of several machines",
            why=f"no kubeconfig context was given; {len(self.nodes)} real nodes were started on"
            " this machine: kube-apiserver, etcd, controller manager, scheduler, metrics server,"
            " and per node kubelet, kube-proxy, containerd, and kube-router for network policies",
        )


@contextmanager
def stand_in_cluster() -> Iterator[StandInCluster]:
    """A ready cluster for the duration of the block; nothing of it remains.

    Needs root and Linux. Raises `EnvironmentMissingError` if its programs are unavailable or
    namespaces are forbidden, and `HarnessError` with the end of their logs if they fail.
    """
    sweep_boxes()
    programs = node_programs()
    with ExitStack() as stack:
        with step("starting a Kubernetes cluster") as progress:
            nodes = _open_nodes(stack, programs)
            first = nodes[0]
            progress.news("control plane")
            _control_plane(first, nodes[1:])
            kubeconfig = first.box.directory / "admin.kubeconfig"
            first.files.write_kubeconfig(kubeconfig, "admin", _reach(first.box))
            cluster = StandInCluster(
                nodes=nodes, kubeconfig=kubeconfig, kubectl=programs.path("kubectl")
            )
            # In turn, so that each gets the pod addresses of its routes.
            for node in nodes:
                name = node.files.place.name
                progress.news(name)
                node.join()
                node.wait(f"node {name} is ready", partial(_is_ready, cluster, node))
                node.enforce_policies()
            progress.news("metrics")
            serve_metrics(first)
        yield cluster


def _open_nodes(stack: ExitStack, programs: Programs) -> list[Node]:
    nodes: list[Node] = []
    tokens = settings.new_tokens()
    for place in PLACES:
        box = stack.enter_context(open_box(place.name))
        files = Settings(run=box.directory / "run", cgroup=box.cgroup, place=place, tokens=tokens)
        files.write()
        nodes.append(Node(box=box, files=files, programs=programs))
    connect(nodes[0], nodes[1:])
    return nodes


def _control_plane(first: Node, others: Sequence[Node]) -> None:
    box, files, path = first.box, first.files, first.programs.path
    files.write_users()
    key = files.run / "kubernetes" / "accounts.key"
    run(["openssl", "genrsa", "-out", str(key), "2048"])
    box.start("etcd", settings.etcd())
    box.start("kube-apiserver", settings.api_server(path("kube-apiserver")))
    certificate = files.run / settings.API_CERTIFICATE
    first.wait("the API server has a certificate", certificate.exists)
    for node in (first, *others):
        node.files.write_access(certificate.read_bytes())
    kubectl = [path("kubectl"), "--kubeconfig=/run/kubernetes/admin.kubeconfig"]
    ready = [*kubectl, "get", "--raw=/readyz"]
    first.wait("the API server is ready", lambda: first.succeeds(ready))
    for name, command in (
        ("kube-controller-manager", settings.controller_manager),
        ("kube-scheduler", settings.scheduler),
    ):
        box.start(name, command(path(name)))


def _reach(box: Box) -> int:
    """Port on this machine's loopback that forwards to the API server in the box."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        fd = listening.fileno()
        command = [sys.executable, "-I", str(Path(forward.__file__)), str(fd)]
        box.start("forward", [*command, str(settings.API_PORT)], keep_open=[fd])
        port: int = listening.getsockname()[1]
    return port


def _is_ready(cluster: StandInCluster, node: Node) -> bool:
    kubectl = [cluster.kubectl, f"--kubeconfig={cluster.kubeconfig}"]
    try:
        text = run([*kubectl, "get", "node", node.files.place.name, "-o", "json"], timeout=10)
    except HarnessError:
        return False
    found = json.loads(text)
    conditions = found["status"].get("conditions", [])
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return ready and not found["spec"].get("taints")
