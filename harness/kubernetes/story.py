"""US-1: an operator installs the chart, and pods, logs, ports and metrics work."""

import http.client
import json
import time
from collections import Counter
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from harness.core.errors import HarnessError
from harness.core.recorder import Limits, Observation
from harness.core.regions import METRICS_PORT
from harness.engine.logs import judge
from harness.kubernetes.extra import extra
from harness.kubernetes.gitops import check_gitops
from harness.kubernetes.names import APP
from harness.kubernetes.policy import check_policy
from harness.kubernetes.stage import (
    ALL,
    PER_REGION,
    REPLICAS,
    Stage,
    restarts,
    seconds_to_ready,
)
from harness.verify.probe import LOOPBACK, body_of, get_status
from harness.verify.service_checks import NAME_PATH

READY_LIMIT = 60.0
_LAX_POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "lax"},
    "spec": {"containers": [{"name": "lax", "image": "none"}]},
}


def tell_story(stage: Stage) -> bool:
    """Check US-1 from the chart to metrics; return False if no pods became ready."""
    _admission(stage)
    if not _ready(stage):
        return False
    pod = stage.pods()[0]["metadata"]["name"]
    _logs(stage, pod)
    ports = [*(region.port for region in stage.regions), METRICS_PORT]
    with stage.kubectl.forward(f"pod/{pod}", ports) as local:
        _http(stage, local)
        _grpc(stage, local)
        _metrics(stage, local)
    _helm_test(stage)
    check_gitops(stage)
    check_policy(stage)
    return True


def _admission(stage: Stage) -> None:
    title = "the API server accepts every manifest of both layouts"
    with stage.recorder.check("US-1", title, scenario="deploy") as finding:
        count = 0
        for layout in (ALL, PER_REGION):
            text = stage.kubectl.apply(stage.manifests(layout), "--dry-run=server", "--output=name")
            count += len(text.splitlines())
        finding.measured = f"{count} objects"
    title = "the namespace rejects a pod that violates Pod Security `restricted`"
    with stage.recorder.check("FR-007", title, scenario="deploy") as finding:
        lax = stage.directory / "lax.json"
        lax.write_text(json.dumps(_LAX_POD), encoding="utf-8")
        try:
            stage.kubectl.apply(lax, "--dry-run=server")
        except HarnessError as error:
            finding.measured = "rejected"
            finding.expect("violates PodSecurity" in str(error), str(error))
        else:
            finding.fail("a pod without any restriction was accepted")


def _ready(stage: Stage) -> bool:
    pods: list[dict[str, Any]] = []
    with stage.recorder.check(
        "US-1",
        "the chart is installed and every pod becomes ready",
        limits=Limits(unit="s", bound=READY_LIMIT),
        scenario="deploy",
        headline=True,
    ) as finding:
        began = time.monotonic()
        stage.install(ALL)
        pods = stage.await_ready(REPLICAS)
        elapsed = time.monotonic() - began
        finding.value = max(map(seconds_to_ready, pods))
        names = (pod["metadata"]["name"] for pod in pods)
        finding.note = "\n".join([f"{elapsed:.1f} s with scheduling and image pull", *names])
        finding.expect(not any(map(restarts, pods)), "a container restarted")
        stage.kubectl.run("rollout", "status", f"deployment/{APP}", "--timeout=60s")
    return bool(pods)


def _logs(stage: Stage, pod: str) -> None:
    count = len(stage.regions)
    with stage.recorder.check(
        "US-1",
        "the pod's log has valid lines from every region",
        limits=Limits(floor=count, bound=count),
        scenario="deploy",
    ) as finding:
        names = frozenset(region.name for region in stage.regions)
        lines = [
            judge(line.encode(), 0.0, names) for line in stage.kubectl.run("logs", pod).splitlines()
        ]
        for line in lines:
            finding.expect(not line.problem, f"{line.problem}: {line.text}")
        regions = Counter(line.region for line in lines if line.region in names)
        finding.value = len(regions)
        finding.measured = f"{len(regions)} regions, {len(lines)} lines"


def _http(stage: Stage, local: dict[int, int]) -> None:
    count = len(stage.regions)
    first = stage.regions[0]
    with stage.recorder.check(
        "US-1",
        f"port {first.port} and all other region ports answer HTTP",
        limits=Limits(floor=count, bound=count),
        scenario="deploy",
    ) as finding:
        good = 0
        for region in stage.regions:
            good += get_status(local[region.port], "/healthz") == http.client.OK
        finding.value = good


def _grpc(stage: Stage, local: dict[int, int]) -> None:
    region = stage.regions[-1]
    title = f"port {region.port} answers gRPC"
    with stage.recorder.check("US-1", title, scenario="deploy") as finding:
        grpc = extra("grpc")
        with grpc.insecure_channel(f"127.0.0.1:{local[region.port]}") as channel:
            # An empty request; the answer is field 1, a string
            # (protobuf.dev/programming-guides/encoding).
            answer = bytes(channel.unary_unary(NAME_PATH)(b"", timeout=10))
        finding.measured = answer[2:].decode(errors="replace")
        finding.expect(answer[:1] == b"\x0a" and len(answer) > 2, f"answered {answer!r}")  # noqa: PLR2004


def _metrics(stage: Stage, local: dict[int, int]) -> None:
    title = "metrics can be parsed and show every region as healthy"
    with stage.recorder.check("FR-019", title, scenario="deploy") as finding:
        text = body_of(f"http://{LOOPBACK}:{local[METRICS_PORT]}/metrics").decode()
        families = list(text_string_to_metric_families(text))
        samples = [sample for family in families for sample in family.samples]
        up = {
            s.labels["finfocus_region"]: s.value for s in samples if s.name == "finfocus_region_up"
        }
        _expect_all_up(stage, up, finding)
        finding.measured = f"{len(families)} families, {len(samples)} samples"


def _helm_test(stage: Stage) -> None:
    title = "`helm test` reaches every region behind the Service"
    count = len(stage.regions)
    with stage.recorder.check(
        "US-1", title, limits=Limits(floor=count + 1, bound=count + 1), scenario="deploy"
    ) as finding:
        text = stage.on_cluster("test", APP, "--logs", "--timeout=60s")
        answered = [line for line in text.splitlines() if line.startswith("ok ")]
        finding.value = len(answered)  # the regions, and all pods ready
        finding.measured = f"{len(answered)} endpoints"


def _expect_all_up(stage: Stage, up: dict[str, float], finding: Observation) -> None:
    for region in stage.regions:
        finding.expect(up.get(region.name) == 1, f"{region.name} is not up")
