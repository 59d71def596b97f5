"""Drain a node: its pods are evicted in time, and no request fails."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from harness.core.errors import HarnessError
from harness.core.recorder import Limits
from harness.core.wait import wait_until
from harness.kubernetes.in_cluster_load import under_load
from harness.kubernetes.manifests import APP
from harness.kubernetes.stage import GRACE_SECONDS, REPLICAS, SELECTOR, Stage, is_ready

HELD_SECONDS = 20


def drain_node(stage: Stage, *, allowed: bool) -> None:
    """Drain the node of one pod, if `allowed`; all pods are ready again afterwards."""
    nodes = [n for n in stage.kubectl.items("nodes") if not n["spec"].get("unschedulable")]
    node = stage.pods()[0]["spec"]["nodeName"]
    title = "draining a node evicts its pods, and no request fails"
    if not allowed:
        with stage.recorder.check("US-1", title, scenario="drain") as finding:
            finding.skip("the cluster was not created for this run: use --drain to drain a node")
        return
    if len(nodes) > 1:
        with under_load(stage, "drain", title) as finding, _cordoned(stage, node):
            stage.kubectl.run(*_drain_command(node, 120), timeout=150)
            stage.await_ready(REPLICAS)
        return
    _drain_only_node(stage, node)


def _drain_only_node(stage: Stage, node: str) -> None:
    """Drain the only node: the disruption budget must keep one of two pods.

    With one replica the pod must leave.
    """
    title = "draining the only node: the disruption budget keeps one pod, and no request fails"
    with under_load(stage, "drain", title) as finding, _cordoned(stage, node):
        try:
            stage.kubectl.run(*_drain_command(node, HELD_SECONDS), timeout=60)
            finding.fail("both pods were evicted although no replacement could run")
        except HarnessError as error:
            finding.expect(
                "disruption budget" in str(error) or "timed out" in str(error), str(error)
            )
        ready = sum(map(is_ready, stage.pods()))
        finding.expect(ready == REPLICAS - 1, f"{ready} pods are ready, expected {REPLICAS - 1}")
    stage.await_ready(REPLICAS)
    title = "a single replica leaves a drained node in time"
    limits = Limits(unit="s", bound=GRACE_SECONDS)
    with stage.recorder.check("US-1", title, limits=limits, scenario="drain") as finding:
        stage.kubectl.run("scale", f"deployment/{APP}", "--replicas=1")
        wait_until(
            lambda: len(stage.kubectl.items("pods", SELECTOR)) == 1,
            timeout=60,
            what="one pod is left",
            explain=stage.kubectl.trouble,
        )
        with _cordoned(stage, node):
            began = time.monotonic()
            stage.kubectl.run(*_drain_command(node, 60), timeout=90)
            finding.value = time.monotonic() - began
        stage.await_ready(1)


@contextmanager
def _cordoned(stage: Stage, node: str) -> Iterator[None]:
    """Uncordon the node after the block, which drains it."""
    try:
        yield
    finally:
        stage.kubectl.run("uncordon", node)


def _drain_command(node: str, seconds: int) -> list[str]:
    # Evict only the pods under test.
    return ["drain", node, f"--pod-selector={SELECTOR}", f"--timeout={seconds}s"]
