"""The stage of a smoke test: the shipped chart in a temporary namespace."""

import json
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
from harness.core.regions import Region
from harness.core.temporary import temporary_directory
from harness.core.wait import wait_until
from harness.kubernetes.chart import CHART
from harness.kubernetes.clusters import Cluster
from harness.kubernetes.helm import Helm, find_helm
from harness.kubernetes.kubectl import Kubectl
from harness.kubernetes.names import APP, REGION_LABEL, SPLIT_RELEASE

ALL = "all"
PER_REGION = "perRegion"
RELEASES = {ALL: APP, PER_REGION: SPLIT_RELEASE}
"""The release of each layout of the chart."""
SELECTOR = f"app.kubernetes.io/instance={APP},{REGION_LABEL}={ALL}"
PULL_SECONDS = 900  # for a node that has to pull 2 GB
POD_READY_SECONDS = 180
REPLICAS = 2  # the chart's default
GRACE_SECONDS = 15  # from a pod's deletion to its exit
RUN_LABEL = "finfocus.com/smoke-run"  # on the pods of one run; its value is the namespace
_OURS = "finfocus.com/smoke"
_OWNER = "finfocus.com/smoke-owner"
_SMALL = {"cpu": "50m", "memory": "64Mi"}
_RESTRICTED = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/enforce-version": "latest",
}


@dataclass(frozen=True, kw_only=True)
class Installation:
    """An image, and the chart that installs it; "" is the shipped chart."""

    image: str
    chart: str = ""

    def __str__(self) -> str:
        return f"{self.image} by chart {Path(self.chart).name}" if self.chart else self.image


NOTHING_EARLIER = Installation(image="")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The cluster, namespace and manifests of a smoke test."""

    cluster: Cluster
    kubectl: Kubectl  # with the run's namespace
    image: str
    regions: tuple[Region, ...]
    recorder: Recorder
    directory: Path
    helm: Helm
    previous: Installation = NOTHING_EARLIER  # to upgrade from; if nothing, pods restart instead
    regional: bool = False  # whether a region's pods run its own image, IMAGE-REGION

    def values(
        self, layout: str, *, replicas: int = REPLICAS, image: str = "", **changes: Any
    ) -> Path:
        """Write the values of one layout, with its regions and `image`, or this one.

        `changes` are more values. Return the file.
        """
        image = image or self.image
        name, separator, chosen = image.rpartition("@" if "@" in image else ":")
        key = "digest" if separator == "@" else "tag"
        values: dict[str, Any] = {
            "layout": layout,
            "regions": [region.name for region in self.regions],
            "replicas": replicas,
            "image": {"repository": name, key: chosen, "perRegion": self.regional},
            "podLabels": {RUN_LABEL: self.kubectl.namespace},
        }
        if self.cluster.own:  # too small for what a real cluster must reserve
            values["resources"] = {"requests": _SMALL}
        values.update(changes)
        path = self.directory / f"values-{layout}.json"
        path.write_text(json.dumps(values), encoding="utf-8")
        return path

    def manifests(self, layout: str, **changes: Any) -> Path:
        """Write the manifests of one layout, with more values; return the file."""
        path = self.directory / f"{layout}.yaml"
        text = self.helm.template(
            CHART,
            f"--values={self.values(layout, **changes)}",
            "--no-hooks",
            name=RELEASES[layout],
            namespace=self.kubectl.namespace,
        )
        path.write_text(text, encoding="utf-8")
        return path

    def install(
        self,
        layout: str,
        *,
        replicas: int = REPLICAS,
        image: str = "",
        chart: str = "",
        **changes: Any,
    ) -> None:
        """Install or upgrade the release of one layout, without waiting for its pods.

        `image` is this one and `chart` the shipped one by default; `changes` are more values.
        """
        values = self.values(layout, replicas=replicas, image=image, **changes)
        given = chart or str(CHART)
        self.on_cluster("upgrade", "--install", RELEASES[layout], given, f"--values={values}")

    def install_previous(self, layout: str) -> None:
        """Install the release that an upgrade starts from: the previous image, by its chart."""
        self.install(layout, image=self.previous.image, chart=self.previous.chart)

    def uninstall(self, layout: str) -> None:
        """Remove the release of one layout, without waiting for its pods."""
        self.on_cluster("uninstall", RELEASES[layout])

    def on_cluster(self, *arguments: str, timeout: float = 120) -> str:
        """Return the output of a Helm call on the namespace; raise `CommandError` if it fails."""
        # The options are kubectl's; Helm has another name for one of them.
        options = [
            option.replace("--context=", "--kube-context=") for option in self.kubectl.options
        ]
        own = [f"--namespace={self.kubectl.namespace}", *options]
        return self.helm.run(*arguments, *own, timeout=timeout)

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

    def await_count(self, selector: str, count: int) -> None:
        """Wait until `count` pods are left: old ones serve for a while after an update."""
        wait_until(
            lambda: len(self.kubectl.items("pods", selector)) == count,
            timeout=60,
            interval=0.5,
            what=f"{count} pods are left",
            explain=self.kubectl.trouble,
        )

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
    cluster: Cluster,
    image: str,
    regions: tuple[Region, ...],
    recorder: Recorder,
    *,
    previous: Installation = NOTHING_EARLIER,
    regional: bool = False,
) -> Iterator[Stage]:
    """Create a namespace that enforces Pod Security `restricted`; delete it after the block.

    Raises `EnvironmentMissingError` if there is no Helm.
    """
    helm = find_helm()
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
        try:
            yield Stage(
                cluster=cluster,
                kubectl=cluster.kubectl.within(namespace),
                image=image,
                regions=regions,
                recorder=recorder,
                directory=directory,
                helm=helm,
                previous=previous,
                regional=regional,
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
