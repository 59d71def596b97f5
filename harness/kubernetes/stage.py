"""The stage of a smoke test: the shipped manifests in a temporary namespace."""

import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from harness.core.console import say, step
from harness.core.errors import HarnessError
from harness.core.labels import OWNER, is_orphan, own_identity
from harness.core.recorder import Recorder
from harness.core.regions import Region, load_regions
from harness.core.temporary import temporary_directory
from harness.core.wait import wait_until
from harness.kubernetes.clusters import Cluster
from harness.kubernetes.deploy import DEPLOY, write_manifests
from harness.kubernetes.kubectl import Kubectl
from harness.kubernetes.manifests import APP

IMAGE_IN_MANIFESTS = f"ghcr.io/rshade/{APP}"
SELECTOR = f"app.kubernetes.io/name={APP}"
PULL_SECONDS = 900  # for a node that has to pull 2 GB
POD_READY_SECONDS = 180
REPLICAS = 2  # in `base`
GRACE_SECONDS = 15  # from a pod's deletion to its exit
RUN_LABEL = "finfocus.com/smoke-run"  # on the pods of one run; its value is the namespace
_OURS = "finfocus.com/smoke"
_OWNER = "finfocus.com/smoke-owner"
_RESTRICTED = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/enforce-version": "latest",
}


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The cluster, namespace and manifests of a smoke test."""

    cluster: Cluster
    kubectl: Kubectl  # with the run's namespace
    image: str
    regions: tuple[Region, ...]
    recorder: Recorder
    directory: Path
    deploy: Path = DEPLOY  # the manifests

    def overlay(self, resource: str, *, replicas: int = 0) -> Path:
        """Write a kustomize directory for one layout, with this image and namespace.

        `replicas` applies to every Deployment; 0 keeps the layout's number.
        """
        directory = self.directory / resource.replace("/", "-")
        directory.mkdir(exist_ok=True)
        name, separator, chosen = self.image.rpartition("@" if "@" in self.image else ":")
        key = "digest" if separator == "@" else "newTag"
        text: dict[str, Any] = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": self.kubectl.namespace,
            "labels": [{"pairs": {RUN_LABEL: self.kubectl.namespace}, "includeTemplates": True}],
            "resources": [os.path.relpath(self.deploy / resource, directory.resolve())],
            "images": [{"name": IMAGE_IN_MANIFESTS, "newName": name, key: chosen}],
        }
        if replicas:
            patch = [{"op": "replace", "path": "/spec/replicas", "value": replicas}]
            text["patches"] = [{"target": {"kind": "Deployment"}, "patch": json.dumps(patch)}]
        (directory / "kustomization.yaml").write_text(json.dumps(text), encoding="utf-8")
        return directory

    @property
    def own_selector(self) -> str:
        """Selects the pods of this run only, even across namespaces."""
        return f"{RUN_LABEL}={self.kubectl.namespace}"

    def pods(self) -> list[dict[str, Any]]:
        """Return the Deployment's pods that are not being deleted, oldest first."""
        found = [
            pod
            for pod in self.kubectl.items("pods", SELECTOR)
            if "deletionTimestamp" not in pod["metadata"]
        ]
        return sorted(found, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def pod(self, name: str) -> dict[str, Any]:
        """Return one pod."""
        return self.kubectl.get("pod", name)

    def await_ready(self, count: int) -> list[dict[str, Any]]:
        """Wait until there are exactly `count` pods and all are ready; return them.

        The time to become ready counts from the start of the last container: before that, a node
        may have to pull the image.
        """

        def found(test: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
            pods = self.pods()
            return pods if len(pods) == count and all(map(test, pods)) else []

        for test, timeout, what in (
            (has_started, self.pull_seconds, "have started"),
            (is_ready, POD_READY_SECONDS, "are ready"),
        ):
            pods = wait_until(
                partial(found, test),
                timeout=timeout,
                interval=0.2,
                what=f"{count} pods {what}",
                explain=self.kubectl.trouble,
            )
        return pods

    @property
    def pull_seconds(self) -> int:
        """How long a pod may take to start; short if the image was loaded into the nodes."""
        return POD_READY_SECONDS if self.cluster.load else PULL_SECONDS


def has_started(pod: dict[str, Any]) -> bool:
    """Return whether the pod's container runs, or has run."""
    states = (pod["status"].get("containerStatuses") or [{}])[0]
    return any(
        kind in states.get(key, {})
        for key in ("state", "lastState")
        for kind in ("running", "terminated")
    )


def seconds_to_ready(pod: dict[str, Any]) -> float:
    """Return the seconds from the start of the pod's container until it was ready.

    Both times are the kubelet's, in whole seconds. The image was pulled before the start.
    """
    began = datetime.fromisoformat(
        pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
    )
    (ready,) = (
        datetime.fromisoformat(condition["lastTransitionTime"])
        for condition in pod["status"]["conditions"]
        if condition["type"] == "Ready"
    )
    return (ready - began).total_seconds()


def is_ready(pod: dict[str, Any]) -> bool:
    """Return whether the pod's condition Ready is true."""
    conditions = pod["status"].get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def restarts(pod: dict[str, Any]) -> int:
    """Return the restart count of the pod's container."""
    statuses = pod["status"].get("containerStatuses") or [{"restartCount": 0}]
    return int(statuses[0]["restartCount"])


@contextmanager
def open_stage(
    cluster: Cluster, image: str, regions: tuple[Region, ...], recorder: Recorder
) -> Iterator[Stage]:
    """Create a namespace that enforces Pod Security `restricted`; delete it after the block."""
    sweep_namespaces(cluster.kubectl)
    namespace = f"finfocus-smoke-{uuid.uuid4().hex[:8]}"
    with temporary_directory("smoke") as directory:
        manifest = directory / "namespace.json"
        labels = {_OURS: "true", _OWNER: own_identity(), **_RESTRICTED}
        metadata = {"name": namespace, "labels": labels}
        manifest.write_text(
            json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        )
        cluster.kubectl.apply(manifest)
        deploy = DEPLOY
        if regions != load_regions():
            deploy = directory.resolve() / "deploy"
            write_manifests(deploy, regions)
        try:
            yield Stage(
                cluster=cluster,
                kubectl=cluster.kubectl.within(namespace),
                image=image,
                regions=regions,
                recorder=recorder,
                directory=directory,
                deploy=deploy,
            )
        finally:
            _remove(cluster.kubectl, namespace)


def _remove(kubectl: Kubectl, namespace: str) -> None:
    command = ("delete", "namespace", namespace, "--timeout=120s")
    try:
        with step(f"removing {namespace}"):
            kubectl.run(*command, timeout=150)
    except HarnessError as error:
        raise HarnessError(
            f"namespace {namespace} was not removed: run `kubectl delete namespace {namespace}`,"
            f" or the smoke test again, which removes it\n{error}"
        ) from error


def sweep_namespaces(kubectl: Kubectl) -> list[str]:
    """Delete namespaces left by killed runs of this machine; return their names."""
    left = [
        str(found["metadata"]["name"])
        for found in kubectl.items("namespaces", f"{_OURS}=true")
        if is_orphan({OWNER: found["metadata"]["labels"].get(_OWNER, "")}, running=True)
    ]
    if left:
        say(f"• deleting namespaces of interrupted runs: {', '.join(left)}")
        kubectl.run("delete", "namespace", *left, "--wait=false")
    return left
