"""The node's programs: Kubernetes compiled from its Go modules, the rest from Debian's packages."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import EnvironmentMissingError
from harness.core.go_tools import GoProgram, GoTool
from harness.core.process import ensure_tools

_SOURCES = Path(__file__).parent
_KUBERNETES = (
    *("kube-apiserver", "kube-controller-manager", "kube-scheduler"),
    *("kubelet", "kube-proxy", "metrics-server", "kubectl"),
)
_PACKAGES = {
    "etcd": "etcd-server",
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
    "iptables": "iptables",
    "ipset": "ipset",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "unshare": "util-linux",
    "openssl": "openssl",
}
_PAUSE = GoProgram(source=_SOURCES / "pause", name="pause")
# Enforces network policies with iptables and ipset; alternatives need optional kernel features.
_POLICIES = GoTool(
    package="github.com/cloudnativelabs/kube-router/v2/cmd/kube-router",
    version="2.1.0",
    takes="several minutes",
)


@dataclass(frozen=True, kw_only=True)
class Programs:
    """Where the compiled programs are."""

    directory: Path  # contains every Kubernetes program by name
    pause: Path  # what holds a pod's namespaces
    policies: Path  # what enforces network policies

    def path(self, name: str) -> str:
        """Path of a Kubernetes program."""
        return str(self.directory / name)


def node_programs() -> Programs:
    """Every program of a node, compiled once per recipe; the first time takes minutes.

    Raises `EnvironmentMissingError` if Go or a package is unavailable.
    """
    ensure_tools(_PACKAGES, wanted_for="a Kubernetes node")
    return Programs(
        directory=_linked(_node().provide()), pause=_PAUSE.provide(), policies=_POLICIES.provide()
    )


def compiled_kubectl() -> Path | None:
    """The kubectl of a previously compiled node, or None."""
    path = _links(_node().path) / "kubectl"
    return path if path.exists() else None


def kubernetes_version() -> str:
    """Kubernetes version that the node is compiled from, such as v1.33.13."""
    text = (_SOURCES / "node" / "go.mod").read_text(encoding="utf-8")
    found = re.search(r"^\s+k8s\.io/kubernetes (v\S+)", text, re.MULTILINE)
    if not found:
        raise EnvironmentMissingError("the node's go.mod does not require Kubernetes")
    return found[1]


def _flags() -> str:
    version = kubernetes_version()
    major, minor, _ = version.removeprefix("v").split(".", 2)
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    sets = [f"-X {package}.{key}={value}" for package in packages for key, value in values.items()]
    return " ".join(["-s", "-w", *sets])


def _node() -> GoProgram:
    """Return the program that runs as each of Kubernetes' by its name."""
    return GoProgram(
        source=_SOURCES / "node", name="kubernetes-node", ldflags=_flags(), takes="15 minutes"
    )


def _linked(node: Path) -> Path:
    """Return a directory with the node's program under each name."""
    directory = _links(node)
    directory.mkdir(parents=True, exist_ok=True)
    for name in _KUBERNETES:
        link = directory / f"{name}.{os.getpid()}"
        link.symlink_to(node)
        link.replace(directory / name)
    return directory


def _links(node: Path) -> Path:
    return node.with_name(f"{node.name}.names")
