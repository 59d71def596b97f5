"""A kind cluster for the time of a block: https://kind.sigs.k8s.io."""

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

CLUSTER_LABEL = "io.x-k8s.kind.cluster"  # of every node's container, with the cluster's name
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
        """Put the images of a `docker save` archive on both workers, where all pods are."""
        # `kind load docker-image` breaks on images of several platforms.
        workers = f"{self.name}-worker,{self.name}-worker2"
        run(
            ["kind", "load", "image-archive", str(archive), "--name", self.name, "--nodes", workers]
        )


def is_installed() -> bool:
    """Whether the program is there; it may still be unable to make a cluster."""
    return shutil.which("kind") is not None


@contextmanager
def kind_cluster() -> Iterator[KindCluster]:
    """A cluster for the block's time; its name tells whose it is.

    Raises `EnvironmentMissingError` with kind's own words when it cannot make one.
    """
    name = _name(own_identity())
    with temporary_directory("kind") as directory:
        kubeconfig, config = directory / "kubeconfig", directory / "config.yaml"
        config.write_text(_CONFIG, encoding="utf-8")
        where = ["--name", name, "--kubeconfig", str(kubeconfig)]
        create = ["kind", "create", "cluster", *where, "--config", str(config)]
        try:
            try:
                with step("making a kind cluster"):
                    run([*create, "--wait", f"{READY_SECONDS}s"], timeout=READY_SECONDS * 2)
            except HarnessError as error:
                raise EnvironmentMissingError(
                    f"kind cannot make a cluster here:\n{error}"
                ) from error
            yield KindCluster(name=name, kubeconfig=kubeconfig)
        finally:
            run(["kind", "delete", "cluster", *where])


def _name(identity: str) -> str:
    """The name of the cluster of a process.

    It is part of host names, so it cannot hold the whole identity (RFC 1035, 2.3.4: 63 octets).
    """
    digest = hashlib.sha256(identity.encode()).hexdigest()
    return f"finfocus-{identity.partition('.')[0]}-{digest[:12]}"


def is_ours(labels: Mapping[str, str]) -> bool:
    """Whether a container is a node of a cluster that a run of the harness made."""
    return _NAME.fullmatch(labels.get(CLUSTER_LABEL, "")) is not None


def is_orphan(labels: Mapping[str, str]) -> bool:
    """Whether the run that made the cluster of one of our nodes is gone."""
    name = labels[CLUSTER_LABEL]
    identity = process_identity(int(name.split("-")[1]))
    return identity is None or _name(identity) != name
