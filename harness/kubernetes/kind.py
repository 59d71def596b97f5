"""A temporary kind cluster: https://kind.sigs.k8s.io."""

import hashlib
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.core.console import step
from harness.core.errors import EnvironmentMissingError, HarnessError
from harness.core.labels import own_identity, process_identity
from harness.core.process import run
from harness.core.temporary import temporary_directory

CLUSTER_LABEL = "io.x-k8s.kind.cluster"  # on every node's container; its value is the cluster name
READY_SECONDS = 300
_NAME = re.compile(r"finfocus-\d+-[0-9a-f]{12}")
# Two workers, so that a drained node's pods have somewhere to go.
# https://kind.sigs.k8s.io/docs/user/configuration/#nodes
_CONFIG = """\
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes:
  - role: control-plane
  - role: worker
  - role: worker
"""


@dataclass(frozen=True, kw_only=True)
class KindCluster:
    """A running cluster."""

    name: str
    kubeconfig: Path

    def load(self, archive: Path) -> None:
        """Load a `docker save` archive on both workers, where all pods run."""
        # `kind load docker-image` fails on multi-platform images.
        workers = f"{self.name}-worker,{self.name}-worker2"
        run(
            ["kind", "load", "image-archive", str(archive), "--name", self.name, "--nodes", workers]
        )


def is_installed() -> bool:
    """Return whether kind is installed; it may still be unable to create a cluster."""
    return shutil.which("kind") is not None


@contextmanager
def kind_cluster() -> Iterator[KindCluster]:
    """Create a cluster for the block; its name identifies the run that owns it.

    Raises `EnvironmentMissingError` with kind's output if creation fails.
    """
    name = _name(own_identity())
    with temporary_directory("kind") as directory:
        kubeconfig, config = directory / "kubeconfig", directory / "config.yaml"
        config.write_text(_CONFIG, encoding="utf-8")
        where = ["--name", name, "--kubeconfig", str(kubeconfig)]
        create = ["kind", "create", "cluster", *where, "--config", str(config)]
        try:
            try:
                with step("creating a kind cluster"):
                    run([*create, "--wait", f"{READY_SECONDS}s"], timeout=READY_SECONDS * 2)
            except HarnessError as error:
                raise EnvironmentMissingError(f"kind cannot create a cluster:\n{error}") from error
            yield KindCluster(name=name, kubeconfig=kubeconfig)
        finally:
            run(["kind", "delete", "cluster", *where])


def _name(identity: str) -> str:
    """Return the cluster name for a process identity.

    It is part of host names, so it has the identity's hash (RFC 1035, 2.3.4: 63 octets).
    """
    digest = hashlib.sha256(identity.encode()).hexdigest()
    return f"finfocus-{identity.partition('.')[0]}-{digest[:12]}"


def is_ours(labels: Mapping[str, str]) -> bool:
    """Return whether a container is a node of a cluster that the harness created."""
    return _NAME.fullmatch(labels.get(CLUSTER_LABEL, "")) is not None


def is_orphan(labels: Mapping[str, str]) -> bool:
    """Return whether the run that created the cluster of one of our nodes has ended."""
    name = labels[CLUSTER_LABEL]
    identity = process_identity(int(name.split("-")[1]))
    return identity is None or _name(identity) != name
