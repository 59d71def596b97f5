"""Disrupt pods: deletion, rolling restart, failing regions, node drain."""

import http.client
import json
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

from harness.core.errors import HarnessError
from harness.core.recorder import Limits
from harness.core.regions import METRICS_PORT
from harness.core.wait import wait_until
from harness.kubernetes.drain import drain_node, evict_node
from harness.kubernetes.in_cluster_load import under_load
from harness.kubernetes.names import APP
from harness.kubernetes.stage import (
    ALL,
    GRACE_SECONDS,
    REPLICAS,
    SELECTOR,
    Stage,
    is_ready,
    restarts,
)
from harness.verify.limits import PROMISED
from harness.verify.probe import LOOPBACK, body_of, get_status

RECOVERY_LIMIT = 10.0
BUDGET_SECONDS = 90
FAILURES_ALLOWED = 3  # FR-017

# Kills the region's process with SIGKILL and prints its ID; prints nothing if it is not running.
_KILL = r"""
for process in /proc/[0-9]*; do
  [[ $process/exe -ef /opt/finfocus/bin/$1 ]] || continue
  kill -KILL "${process#/proc/}" && printf '%s' "${process#/proc/}"
done
"""


def disrupt(stage: Stage, *, drain: bool) -> None:
    """Run every disruption in turn; each must leave all pods ready.

    `drain` allows draining a node. The first disruption that fails becomes a failed check and ends
    the sequence.
    """
    try:
        for disruption in (_delete, _upgrade, _kill_region, _spend_budget, evict_node):
            disruption(stage)
        drain_node(stage, allowed=drain)
    except HarnessError as error:
        with stage.recorder.check("US-1", "all pods are ready again") as finding:
            finding.fail(str(error))


def _delete(stage: Stage) -> None:
    """SC-003 (exit code 0 within 5 s): time from the logged SIGTERM to the end of the log."""
    name = stage.pods()[0]["metadata"]["name"]
    with (
        stage.recorder.check(
            "SC-003",
            "a deleted pod: SIGTERM to exit",
            limits=Limits(unit="s", bound=PROMISED.stop),
            limit=f"≤ {PROMISED.stop:g} s, exit 0",
            scenario="delete",
            headline=True,
        ) as finding,
        stage.kubectl.follow("logs", "--follow", name) as log,
        stage.kubectl.follow("get", "pod", name, "--watch", f"--output=jsonpath={_EXIT}") as state,
    ):
        wait_until(lambda: log.lines, timeout=10, what=f"{name} writes to its log")
        began = time.time()
        stage.kubectl.run("delete", "pod", name, "--wait=false")
        wait_until(
            log.ended.is_set, timeout=2 * GRACE_SECONDS, what=f"{name} exits", explain=log.text
        )
        told = [_time_of(line) for _, line in log.lines if "SIGTERM: stopping" in line]
        if not told:
            finding.fail("no SIGTERM in the log: the pod was killed, or its log is incomplete")
            return
        finding.value = log.ended_at - told[0]
        wait_until(lambda: state.text().strip(), timeout=10, what="its exit code is reported")
        code = state.text().split()[-1]
        finding.measured = f"{finding.value:.2f} s, exit {code}"
        finding.note = f"SIGTERM came {told[0] - began:.1f} s after the deletion (preStop)"
        finding.expect(code == "0", f"exit code {code}")
    stage.await_ready(REPLICAS)


_EXIT = '{.status.containerStatuses[0].state.terminated.exitCode}{"\\n"}'


def _time_of(line: str) -> float:
    return datetime.fromisoformat(json.loads(line)["timestamp"]).timestamp()


def _upgrade(stage: Stage) -> None:
    """Upgrade from the previous image under load; restart the pods if there is none."""
    if not stage.previous.image:
        _roll(stage, "rolling restart", lambda: _kubectl_rollout(stage, "restart"))
        return
    stage.install_previous(ALL)
    _kubectl_rollout(stage, "status")
    stage.await_count(SELECTOR, REPLICAS)
    what = f"rolling upgrade from {stage.previous}"
    _roll(stage, what, lambda: stage.install(ALL))


def _roll(stage: Stage, what: str, begin: Callable[[], object]) -> None:
    scenario = what.partition(" from ")[0]
    with under_load(stage, scenario, f"a {what}: no request fails") as finding:
        old = {pod["metadata"]["name"] for pod in stage.pods()}
        begin()
        _kubectl_rollout(stage, "status")
        new = {pod["metadata"]["name"] for pod in stage.await_ready(REPLICAS)}
        finding.expect(not old & new, "an old pod still exists")
        stage.await_count(SELECTOR, REPLICAS)


def _kubectl_rollout(stage: Stage, verb: str) -> None:
    seconds = stage.pull_seconds
    limit = [f"--timeout={seconds}s"] if verb == "status" else []
    stage.kubectl.run("rollout", verb, f"deployment/{APP}", *limit, timeout=seconds + 20)


def _kill_region(stage: Stage) -> None:
    victim = stage.regions[-1]
    pod = stage.pods()[0]
    name = pod["metadata"]["name"]
    with (
        stage.recorder.check(
            "FR-017",
            "a killed region restarts; its pod neither restarts nor becomes unready",
            limits=Limits(unit="s", bound=RECOVERY_LIMIT),
            scenario="killed region",
            headline=True,
        ) as finding,
        stage.kubectl.forward(f"pod/{name}", [victim.port, METRICS_PORT]) as local,
        stage.kubectl.follow("get", "pod", name, "--watch", f"--output=jsonpath={_READY}") as watch,
    ):
        before = restarts(pod)
        began = time.monotonic()
        killed = stage.kubectl.execute(name, _KILL, victim.binary)
        finding.expect(killed, f"no process of {victim.name} found")
        wait_until(
            # The port answers 503 until the region is back.
            lambda: (
                _started_again(local[METRICS_PORT], victim.name)
                and get_status(local[victim.port], "/healthz") == http.client.OK
            ),
            timeout=RECOVERY_LIMIT * 2,
            what=f"{victim.name} answers again",
            explain=stage.kubectl.trouble,
        )
        finding.value = time.monotonic() - began
        after = stage.pod(name)
        finding.expect(restarts(after) == before, "the container restarted")
        finding.expect(is_ready(after), "the pod is not ready")
        finding.expect("False" not in watch.text(), "the pod was temporarily not ready")


_READY = '{.status.conditions[?(@.type=="Ready")].status}{"\\n"}'


def _started_again(port: int, region: str) -> bool:
    lines = body_of(f"http://{LOOPBACK}:{port}/metrics").decode().splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if line and line[0] != "#")
    return float(values[f'finfocus_region_restarts_total{{finfocus_region="{region}"}}']) > 0


def _spend_budget(stage: Stage) -> None:
    victim = stage.regions[0]
    name = stage.pods()[0]["metadata"]["name"]
    with stage.recorder.check(
        "FR-017",
        "a region exceeds its restart limit: Kubernetes restarts the container",
        scenario="spent budget",
        limit="exit 1, then ready",
    ) as finding:
        before = restarts(stage.pod(name))
        kills = 0

        def restarted() -> dict[str, Any]:
            nonlocal kills
            pod = stage.pod(name)
            if restarts(pod) > before:
                return pod
            # No kills beyond the budget: they would hit the new container.
            if kills > FAILURES_ALLOWED:
                return {}
            with suppress(HarnessError):  # the container may exit during the command
                kills += bool(stage.kubectl.execute(name, _KILL, victim.binary))
            return {}

        pod = wait_until(
            restarted,
            timeout=BUDGET_SECONDS,
            interval=0.3,
            what="the container restarts",
            explain=stage.kubectl.trouble,
        )
        last = pod["status"]["containerStatuses"][0]["lastState"]["terminated"]
        finding.measured = f"exit {last['exitCode']} after {kills} kills"
        finding.expect(last["exitCode"] == 1, f"exit code {last['exitCode']}")
        words = stage.kubectl.run("logs", "--previous", name).splitlines()[-1]
        finding.note = words
        finding.expect(victim.name in words, f"the last log line does not name {victim.name}")
        stage.await_ready(REPLICAS)
