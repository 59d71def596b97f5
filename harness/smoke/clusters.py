"""The cluster of a smoke test: a context that was given, kind, or a node made for the run."""

import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from harness.console import say, step
from harness.engine import Engine
from harness.errors import EnvironmentMissingError, HarnessError
from harness.process import run
from harness.proof import StandIn
from harness.smoke.kubectl import Kubectl
from harness.stand_ins.cluster.node import kubernetes_node
from harness.stand_ins.cluster.programs import compiled_kubectl
from harness.temporary import temporary_directory


class ClusterKind(StrEnum):
    """Which cluster a smoke test makes."""

    AUTO = "auto"  # kind where it is installed and can start, else a stand-in
    KIND = "kind"
    STAND_IN = "stand-in"


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster that is ready."""

    kubectl: Kubectl
    load: Callable[[Path], None] | None  # takes a `docker save` archive; None: it pulls
    own: bool  # made for this run: its nodes may be drained
    policies: bool  # whether its network is known to enforce network policies
    stand_in: StandIn | None = None


def given_cluster(context: str) -> Cluster:
    """The cluster of a kubeconfig context; `UsageError`-like message when kubectl is missing."""
    kubectl = Kubectl(program=_find_kubectl(), options=(f"--context={context}",))
    kubectl.run("version", "--output=json")
    return Cluster(kubectl=kubectl, load=None, own=False, policies=False)


@contextmanager
def made_cluster(kind: ClusterKind) -> Iterator[Cluster]:
    """A cluster for the block's time, removed afterwards."""
    if kind is not ClusterKind.STAND_IN and shutil.which("kind"):
        name = f"finfocus-{uuid.uuid4().hex[:8]}"
        with temporary_directory("kind") as directory:
            kubeconfig = directory / "kubeconfig"
            reason = _create_kind(name, kubeconfig)
            if not reason:
                try:
                    yield _kind_cluster(name, kubeconfig)
                finally:
                    _delete_kind(name, kubeconfig)
                return
        if kind is ClusterKind.KIND:
            raise EnvironmentMissingError(f"kind cannot make a cluster here:\n{reason}")
        say(f"  kind cannot make a cluster here: {reason.splitlines()[-1] if reason else ''}")
    elif kind is ClusterKind.KIND:
        raise EnvironmentMissingError("kind is not installed: https://kind.sigs.k8s.io")
    with kubernetes_node() as node:
        kubectl = Kubectl(program=node.kubectl, options=(f"--kubeconfig={node.kubeconfig}",))
        yield Cluster(
            kubectl=kubectl, load=node.load, own=True, policies=False, stand_in=node.stand_in()
        )


def save_image(engine: Engine, reference: str, directory: Path) -> Path:
    """Archive of one image, of the platform that the engine has."""
    archive = directory / "image.tar"
    with step(f"saving {reference}"), archive.open("wb") as file:
        for chunk in engine.client.images.get(reference).save(named=reference):
            file.write(chunk)
    return archive


def _create_kind(name: str, kubeconfig: Path) -> str:
    """Make a kind cluster; returns why it cannot be made, "" when it could."""
    options = ["--name", name, "--kubeconfig", str(kubeconfig), "--wait", "180s"]
    try:
        with step("making a kind cluster"):
            run(["kind", "create", "cluster", *options])
    except HarnessError as error:
        _delete_kind(name, kubeconfig)
        return str(error)
    return ""


def _delete_kind(name: str, kubeconfig: Path) -> None:
    run(["kind", "delete", "cluster", "--name", name, "--kubeconfig", str(kubeconfig)])


def _kind_cluster(name: str, kubeconfig: Path) -> Cluster:
    def load(archive: Path) -> None:
        # `kind load docker-image` breaks on images of several platforms.
        run(["kind", "load", "image-archive", str(archive), "--name", name])

    kubectl = Kubectl(program=_find_kubectl(), options=(f"--kubeconfig={kubeconfig}",))
    return Cluster(kubectl=kubectl, load=load, own=True, policies=False)


def _find_kubectl() -> str:
    found = shutil.which("kubectl") or compiled_kubectl()
    if not found:
        raise EnvironmentMissingError(
            "kubectl is not installed: https://kubernetes.io/docs/tasks/tools/"
        )
    return str(found)
