"""The node's programs: Kubernetes compiled from its Go modules, the rest from Debian's packages."""

import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from harness.core.cache import cache_directory
from harness.core.console import step
from harness.core.errors import EnvironmentMissingError
from harness.core.go_tools import GoTool
from harness.core.process import ensure_tools, run

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
COMPILE_SECONDS = 3600
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
    policies: Path  # what enforces network policies

    def path(self, name: str) -> str:
        """Path of a Kubernetes program."""
        return str(self.directory / name)


def node_programs() -> Programs:
    """Every program of a node, compiled once per recipe; the first time takes minutes.

    Raises `EnvironmentMissingError` if Go or a package is unavailable.
    """
    ensure_tools(_PACKAGES, wanted_for="a Kubernetes node")
    return Programs(directory=_compiled(), policies=_POLICIES.provide())


def compiled_kubectl() -> Path | None:
    """The kubectl of a previously compiled node, or None."""
    path = _directory() / "kubectl"
    return path if path.exists() else None


def _recipe_files() -> list[Path]:
    return sorted(p for p in _SOURCES.rglob("*") if p.suffix in {".go", ".mod", ".sum"})


def _directory() -> Path:
    recipe = hashlib.sha256(_flags().encode())
    for path in _recipe_files():
        recipe.update(f"{path.relative_to(_SOURCES)}\n".encode() + path.read_bytes())
    return cache_directory() / "kubernetes" / recipe.hexdigest()[:16]


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


def _compiled() -> Path:
    directory = _directory()
    if (directory / "kubectl").exists():
        return directory
    if not shutil.which("go"):
        raise EnvironmentMissingError("a Kubernetes node needs Go. Install it: https://go.dev/dl/")
    directory.mkdir(parents=True, exist_ok=True)
    with step("compiling Kubernetes (once per machine; takes minutes)"):
        for name in ("pause", "node"):
            building = directory / f"{name}.{os.getpid()}"
            # As in Kubernetes' own builds: version set, no debug tables, no local paths.
            command = ["go", "build", "-trimpath", "-buildvcs=false", f"-ldflags={_flags()}"]
            run(
                [*command, "-o", str(building), "."],
                cwd=_SOURCES / name,
                environ={"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly"},
                timeout=COMPILE_SECONDS,
            )
            building.replace(directory / name)
    for name in _KUBERNETES:  # kubectl is last: it marks the set as complete
        link = directory / f"{name}.{os.getpid()}"
        link.symlink_to("node")
        link.replace(directory / name)
    return directory
