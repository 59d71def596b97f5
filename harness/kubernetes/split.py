"""Check the layout with one Deployment per region."""

import http.client

from harness.core.recorder import Limits
from harness.core.regions import METRICS_PORT, Region
from harness.kubernetes.names import REGION_LABEL, service_name
from harness.kubernetes.stage import PER_REGION, Stage
from harness.verify.probe import get_status


def split_by_region(stage: Stage) -> None:
    """US-1 (an operator applies a manifest): each region's Service leads to its own pod."""
    count = len(stage.regions)
    with stage.recorder.check(
        "US-1",
        "one Deployment per region: each serves its region behind its own Service",
        limits=Limits(floor=count, bound=count),
        scenario="per region",
    ) as finding:
        stage.install(PER_REGION, replicas=1)
        stage.kubectl.run(
            *("wait", "deployment", "--for=condition=Available"),
            f"--selector={REGION_LABEL}!=all",
            f"--timeout={stage.pull_seconds}s",
            timeout=stage.pull_seconds + 10,
        )
        served = [region.name for region in stage.regions if _serves_only(stage, region)]
        finding.value = len(served)
        for region in stage.regions:
            finding.expect(region.name in served, f"{region.name} is not served by its Service")


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
