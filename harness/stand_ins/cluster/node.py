"""One node: its network, container runtime, kubelet and kube-proxy, in a box of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import HarnessError
from harness.core.wait import wait_until
from harness.stand_ins.cluster import settings
from harness.stand_ins.cluster.box import Box
from harness.stand_ins.cluster.program_image import write_program_image
from harness.stand_ins.cluster.programs import Programs
from harness.stand_ins.cluster.settings import Settings

START_SECONDS = 180


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node of the cluster; the first one also runs the control plane."""

    box: Box
    files: Settings
    programs: Programs

    def join(self) -> None:
        """Start what every node runs; return when the container runtime answers."""
        self.box.start("containerd", settings.containerd())
        socket_file = self.files.run / settings.CONTAINERD_SOCKET.removeprefix("/run/")
        self.wait(
            "containerd answers",
            lambda: socket_file.exists() and self.succeeds(["ctr", "version"]),
        )
        archive = self.box.directory / "pause.tar"
        write_program_image({"/pause": self.programs.pause}, settings.PAUSE_IMAGE, archive)
        self.load(archive)
        place, path = self.files.place, self.programs.path
        self.box.start("kubelet", settings.kubelet(path("kubelet"), place))
        self.box.start("kube-proxy", settings.proxy(path("kube-proxy"), place))

    def enforce_policies(self) -> None:
        """Start the agent for network policies, which reads the node's object at its start."""
        self.box.start(
            "kube-router", settings.policies(str(self.programs.policies), self.files.place)
        )

    def load(self, archive: Path) -> None:
        """Put the images of a `docker save` archive on the node."""
        self.box.run(["ctr", "--namespace=k8s.io", "images", "import", str(archive)])

    def wait(self, what: str, condition: Callable[[], object]) -> None:
        """Wait for a condition; `HarnessError` with the ends of the logs if a program exits."""
        wait_until(
            lambda: self.box.expect_alive() and condition(),
            timeout=START_SECONDS,
            interval=0.2,
            what=what,
            explain=self.box.logs,
        )

    def succeeds(self, command: list[str]) -> bool:
        """Return whether a command exits with 0 in the box."""
        try:
            self.box.run(command, timeout=10)
        except HarnessError:
            return False
        return True


def connect(first: Node, others: list[Node]) -> None:
    """Give every node its address and routes to the pods of the others, over one bridge.

    Kubelet and pods require a default route.
    """
    first.box.run(["ip", "link", "add", "node0", "type", "bridge"])
    for number, node in enumerate(others, 2):
        first.box.link(f"node{number}", node.box, "node0")
        first.box.run(["ip", "link", "set", f"node{number}", "master", "node0", "up"])
    nodes = [first, *others]
    for node in nodes:
        node.box.run(["ip", "address", "add", f"{node.files.place.address}/24", "dev", "node0"])
        node.box.run(["ip", "link", "set", "node0", "up"])
        node.box.run(["ip", "route", "add", "default", "dev", "node0"])
        node.box.run(["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"])
        for other in nodes:
            if other is not node:
                route = [other.files.place.pods, "via", other.files.place.address]
                node.box.run(["ip", "route", "add", *route])
