"""The cluster of a smoke test: a given context, kind, or a stand-in."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from harness.core.console import say
from harness.core.errors import EnvironmentMissingError
from harness.core.proof import StandIn
from harness.kubernetes.kind import is_installed as kind_is_installed
from harness.kubernetes.kind import kind_cluster
from harness.kubernetes.kubectl import Kubectl
from harness.stand_ins.cluster.cluster import stand_in_cluster
from harness.stand_ins.cluster.programs import compiled_kubectl


class ClusterKind(StrEnum):
    """Which cluster a smoke test creates."""

    AUTO = "auto"  # kind if it is installed and starts, else a stand-in
    KIND = "kind"
    STAND_IN = "stand-in"


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster that is ready to use."""

    kubectl: Kubectl
    load: Callable[[Path], None] | None  # loads an archive of images; None: nodes pull
    own: bool  # created for this run: its nodes may be drained
    stand_in: StandIn | None = None


def given_cluster(context: str) -> Cluster:
    """Return the cluster of a kubeconfig context.

    Raises `EnvironmentMissingError` if kubectl is missing.
    """
    kubectl = Kubectl(program=_find_kubectl(), options=(f"--context={context}",))
    kubectl.run("version", "--output=json")
    return Cluster(kubectl=kubectl, load=None, own=False)


@contextmanager
def made_cluster(kind: ClusterKind) -> Iterator[Cluster]:
    """Create a cluster for the block and remove it afterwards.

    Raises `EnvironmentMissingError` if it cannot be created.
    """
    with ExitStack() as stack:
        yield _made(kind, stack)


def _made(kind: ClusterKind, stack: ExitStack) -> Cluster:
    if kind is ClusterKind.KIND and not kind_is_installed():
        raise EnvironmentMissingError("kind is not installed: see https://kind.sigs.k8s.io")
    if kind is not ClusterKind.STAND_IN and kind_is_installed():
        try:
            made = stack.enter_context(kind_cluster())
        except EnvironmentMissingError as error:
            if kind is ClusterKind.KIND:
                raise
            say(f"  using a stand-in cluster instead of kind: {str(error).splitlines()[-1]}")
        else:
            options = (f"--kubeconfig={made.kubeconfig}",)
            kubectl = Kubectl(program=_find_kubectl(), options=options)
            return Cluster(kubectl=kubectl, load=made.load, own=True)
    made_here = stack.enter_context(stand_in_cluster())
    options = (f"--kubeconfig={made_here.kubeconfig}",)
    kubectl = Kubectl(program=made_here.kubectl, options=options)
    return Cluster(kubectl=kubectl, load=made_here.load, own=True, stand_in=made_here.stand_in())


def _find_kubectl() -> str:
    found = shutil.which("kubectl") or compiled_kubectl()
    if not found:
        raise EnvironmentMissingError(
            "kubectl is not installed: see https://kubernetes.io/docs/tasks/tools/"
        )
    return str(found)
