"""Drain or taint a node: its pods move in time, and no request fails."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from harness.core.errors import HarnessError
from harness.core.recorder import Limits
from harness.core.wait import wait_until
from harness.kubernetes.in_cluster_load import under_load
from harness.kubernetes.stage import ALL, GRACE_SECONDS, REPLICAS, SELECTOR, Stage, is_ready

HELD_SECONDS = 20
_TAINT = "finfocus.com/smoke"


def drain_node(stage: Stage, *, allowed: bool) -> None:
    """Drain the node of one pod, if `allowed`: with two replicas, then with one.

    One replica is left.
    """
    title = "draining a node evicts its pods, and no request fails"
    if not allowed:
        with stage.recorder.check("US-1", title, scenario="drain") as finding:
            finding.skip("the cluster was not created for this run: use --drain to drain a node")
        return
    nodes = [node for node in stage.kubectl.items("nodes") if _takes_pods(node)]
    node = stage.pods()[0]["spec"]["nodeName"]
    if len(nodes) > 1:
        with under_load(stage, "drain", title) as finding, drained(stage, node):
            left = {pod["spec"]["nodeName"] for pod in stage.await_ready(REPLICAS)}
            finding.expect(node not in left, f"a pod still runs on {node}")
    else:
        _drain_only_node(stage, node)
    _drain_single_replica(stage)


@contextmanager
def drained(stage: Stage, node: str) -> Iterator[str]:
    """Drain a node for the block, which gets its name."""
    seconds = stage.pull_seconds
    with _cordoned(stage, node):
        stage.kubectl.run(*_drain_command(stage, node, seconds), timeout=seconds + 30)
        yield node


def _takes_pods(node: dict[str, Any]) -> bool:
    taints = node["spec"].get("taints", [])
    return not node["spec"].get("unschedulable") and all(
        taint["effect"] == "PreferNoSchedule" for taint in taints
    )


def evict_node(stage: Stage) -> None:
    """Taint the node of one pod with NoExecute: Kubernetes deletes its pods without a budget.

    Only on a cluster of this run, whose other pods do not matter.
    """
    title = "a node that is tainted NoExecute loses its pods, and no request fails"
    nodes = {pod["spec"]["nodeName"] for pod in stage.pods()}
    if not stage.cluster.own or len(nodes) < REPLICAS:
        with stage.recorder.check("US-1", title, scenario="eviction") as finding:
            why = "one node runs every pod" if stage.cluster.own else "it is not ours to taint"
            finding.skip(f"the pods need two nodes of a cluster created for this run: {why}")
        return
    node = sorted(nodes)[-1]
    with under_load(stage, "eviction", title) as finding, _tainted(stage, node):
        wait_until(
            lambda: node not in {pod["spec"].get("nodeName") for pod in stage.pods()},
            timeout=GRACE_SECONDS * 2,
            what=f"the pods of {node} are deleted",
            explain=stage.kubectl.trouble,
        )
        left = {pod["spec"]["nodeName"] for pod in stage.await_ready(REPLICAS)}
        finding.expect(node not in left, f"a pod runs on {node} again")


@contextmanager
def _tainted(stage: Stage, node: str) -> Iterator[None]:
    """Remove the taint after the block, which runs with it."""
    try:
        stage.kubectl.run("taint", "node", node, f"{_TAINT}=true:NoExecute")
        yield
    finally:
        stage.kubectl.run("taint", "node", node, f"{_TAINT}:NoExecute-")


def _drain_only_node(stage: Stage, node: str) -> None:
    """Drain the only node: the disruption budget must keep one of two pods."""
    title = "draining the only node: the disruption budget keeps one pod, and no request fails"
    with under_load(stage, "drain", title) as finding, _cordoned(stage, node):
        try:
            stage.kubectl.run(*_drain_command(stage, node, HELD_SECONDS), timeout=60)
            finding.fail("both pods were evicted although no replacement could run")
        except HarnessError as error:
            finding.expect(
                "disruption budget" in str(error) or "timed out" in str(error), str(error)
            )
        ready = sum(map(is_ready, stage.pods()))
        finding.expect(ready == REPLICAS - 1, f"{ready} pods are ready, expected {REPLICAS - 1}")
    stage.await_ready(REPLICAS)


def _drain_single_replica(stage: Stage) -> None:
    title = "a single replica leaves a drained node in time"
    limits = Limits(unit="s", bound=GRACE_SECONDS)
    with stage.recorder.check("US-1", title, limits=limits, scenario="drain") as finding:
        stage.install(ALL, replicas=1)
        stage.await_count(SELECTOR, 1)
        node = stage.await_ready(1)[0]["spec"]["nodeName"]
        with _cordoned(stage, node):
            began = time.monotonic()
            stage.kubectl.run(*_drain_command(stage, node, 60), timeout=90)
            finding.value = time.monotonic() - began
        stage.await_ready(1)


@contextmanager
def _cordoned(stage: Stage, node: str) -> Iterator[None]:
    """Uncordon the node after the block, which drains it."""
    try:
        yield
    finally:
        stage.kubectl.run("uncordon", node)


def _drain_command(stage: Stage, node: str, seconds: int) -> list[str]:
    # `kubectl drain` looks in every namespace: only this run's label keeps other installations.
    return ["drain", node, f"--pod-selector={stage.own_selector}", f"--timeout={seconds}s"]
