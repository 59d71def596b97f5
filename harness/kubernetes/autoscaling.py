"""Check that the chart's autoscaler adds a pod when the load grows."""

import json
import time
from typing import Any

from harness.core.errors import HarnessError
from harness.core.wait import wait_until
from harness.kubernetes.in_cluster_load import load
from harness.kubernetes.names import APP
from harness.kubernetes.stage import ALL, REPLICAS, SELECTOR, Stage

TITLE = "the autoscaler adds a pod under load, and none before"
METRICS_API = "/apis/metrics.k8s.io/v1beta1"
METRICS_SECONDS = 120
SCALE_SECONDS = 180
_HEADROOM = 1.3  # times the CPU at rest; the load is far above


def check_autoscaling(stage: Stage) -> None:
    """US-1: with `autoscaling.enabled` the third pod comes with the load, not before."""
    with stage.recorder.check("US-1", TITLE, scenario="autoscaling", limit="2, then 3") as finding:
        try:
            stage.kubectl.run("get", f"--raw={METRICS_API}")
        except HarnessError:
            finding.skip("the cluster has no metrics API: install metrics-server")
        stage.install(ALL)
        stage.await_ready(REPLICAS)
        stage.await_count(SELECTOR, REPLICAS)
        idle = _settled_millicores(stage)
        target = round(idle * _HEADROOM) + 5
        stage.install(
            ALL,
            autoscaling={
                "enabled": True,
                "minReplicas": REPLICAS,
                "maxReplicas": REPLICAS + 1,
                "targetCPU": f"{target}m",
            },
        )
        _await(
            stage,
            "the autoscaler reads the CPU",
            lambda: bool(_status(stage)["currentMetrics"]),
        )
        before = int(_status(stage)["desiredReplicas"])
        finding.expect(before == REPLICAS, f"{before} pods were wanted without load")
        began = time.monotonic()
        with load(stage, {APP: stage.regions}):
            _await(stage, "a pod is added", lambda: _status(stage)["desiredReplicas"] > before)
            seconds = time.monotonic() - began
            stage.await_ready(REPLICAS + 1)
        finding.measured = f"{before}, then {REPLICAS + 1} after {seconds:.0f} s"
        finding.note = f"{idle:.0f}m per pod at rest, target {target}m"


def _status(stage: Stage) -> dict[str, Any]:
    found = stage.kubectl.get("horizontalpodautoscaler", APP)["status"]
    return {"currentMetrics": [], "desiredReplicas": 0, **found}


def _settled_millicores(stage: Stage) -> float:
    """Return the CPU of the busiest pod at rest, once two readings agree."""
    readings: list[float] = []

    def settled() -> bool:
        if found := _millicores(stage):
            readings.append(max(found))
        return len(readings) > 1 and readings[-1] <= readings[-2]

    wait_until(
        settled,
        timeout=METRICS_SECONDS,
        interval=10,
        what="the metrics API knows the CPU of the pods",
        explain=stage.kubectl.trouble,
    )
    return readings[-1]


def _millicores(stage: Stage) -> list[float]:
    path = f"{METRICS_API}/namespaces/{stage.kubectl.namespace}/pods"
    found = json.loads(stage.kubectl.run("get", f"--raw={path}"))["items"]
    names = {pod["metadata"]["name"] for pod in stage.pods()}
    ours = [item for item in found if item["metadata"]["name"] in names]
    if len(ours) < len(names):
        return []
    return [sum(_quantity(c["usage"]["cpu"]) for c in item["containers"]) for item in ours]


def _quantity(text: str) -> float:
    """Return millicores; the API answers in nanocores: "123456n"."""
    units = {"n": 1e-6, "u": 1e-3, "m": 1.0}
    return float(text[:-1]) * units[text[-1]] if text[-1] in units else float(text) * 1000


def _await(stage: Stage, what: str, condition: Any) -> None:
    wait_until(
        condition, timeout=SCALE_SECONDS, interval=1, what=what, explain=stage.kubectl.trouble
    )
