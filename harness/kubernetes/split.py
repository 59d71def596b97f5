"""Check the layout with one Deployment per region: two pods each, upgraded and drained."""

import http.client

from harness.core.recorder import Limits
from harness.core.regions import METRICS_PORT, Region
from harness.kubernetes.drain import drained
from harness.kubernetes.in_cluster_load import under_load
from harness.kubernetes.names import REGION_LABEL, service_name
from harness.kubernetes.stage import PER_REGION, REPLICAS, Stage, is_ready
from harness.verify.probe import get_status

_SELECTOR = f"{REGION_LABEL},{REGION_LABEL}!=all"  # the pod of `helm test` has no such label


def split_by_region(stage: Stage, *, drain: bool) -> None:
    """US-1 (an operator applies a manifest): each region's Service leads to its own pods.

    No request fails in an upgrade, nor in a drain if `drain` allows it.
    """
    count = len(stage.regions)
    with stage.recorder.check(
        "US-1",
        "one Deployment per region: each serves its region behind its own Service",
        limits=Limits(floor=count, bound=count),
        scenario="per region",
    ) as finding:
        stage.install_previous(PER_REGION)
        _await_available(stage)
        served = [region.name for region in stage.regions if _serves_only(stage, region)]
        finding.value = len(served)
        for region in stage.regions:
            finding.expect(region.name in served, f"{region.name} is not served by its Service")
    if finding.problems:
        return
    if stage.regional:
        _check_images(stage)
    services = {service_name(region, split=True): (region,) for region in stage.regions}
    if stage.previous.image:
        title = f"per region: a rolling upgrade from {stage.previous}: no request fails"
        with under_load(stage, "per region", title, services):
            stage.install(PER_REGION)
            _await_available(stage)
    nodes = {pod["spec"]["nodeName"] for pod in stage.kubectl.items("pods", _SELECTOR)}
    if drain and len(nodes) > 1:
        title = "per region: draining a node evicts its pods, and no request fails"
        with (
            under_load(stage, "per region", title, services) as finding,
            drained(stage, sorted(nodes)[-1]) as node,
        ):
            _await_available(stage)
            pods = stage.kubectl.items("pods", _SELECTOR)
            finding.expect(all(map(is_ready, pods)), "a pod is not ready")
            left = [pod for pod in pods if pod["spec"]["nodeName"] == node]
            finding.expect(not left, f"{len(left)} pods still run on {node}")


def _await_available(stage: Stage) -> None:
    """Wait until every Deployment has its new pods only, and all are available."""
    seconds = stage.pull_seconds
    for region in stage.regions:
        name = f"deployment/{service_name(region, split=True)}"
        status = ("rollout", "status", name, f"--timeout={seconds}s")
        stage.kubectl.run(*status, timeout=seconds + 20)
    stage.await_count(_SELECTOR, REPLICAS * len(stage.regions))


def _check_images(stage: Stage) -> None:
    count = len(stage.regions)
    with stage.recorder.check(
        "US-1",
        "each of these Deployments runs the image of its region",
        limits=Limits(floor=count, bound=count),
        scenario="per region",
    ) as finding:
        images = set()
        for pod in stage.kubectl.items("pods", _SELECTOR):
            region = pod["metadata"]["labels"][REGION_LABEL]
            (status,) = pod["status"]["containerStatuses"]
            finding.expect(
                pod["spec"]["containers"][0]["image"].endswith(f"-{region}"),
                f"a pod of {region} runs {status['image']}",
            )
            images.add(status["imageID"])
        finding.value = len(images)
        finding.measured = f"{len(images)} images"


def _serves_only(stage: Stage, region: Region) -> bool:
    """Return whether the region's Service leads to a ready pod with only this region."""
    service = f"service/{service_name(region, split=True)}"
    others = [r for r in stage.regions if r != region][:1]
    with stage.kubectl.forward(service, [region.port, METRICS_PORT]) as local:
        return (
            get_status(local[region.port], "/healthz") == http.client.OK
            and get_status(local[METRICS_PORT], f"/readyz/{region.name}") == http.client.OK
            and all(
                get_status(local[METRICS_PORT], f"/readyz/{other.name}") == http.client.NOT_FOUND
                for other in others
            )
        )
