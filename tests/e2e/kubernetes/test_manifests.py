"""The chart's manifests are valid for Kubernetes and right for the image, without a cluster.

Most tests read `rendered/`, so they need no Helm; `test_chart.py` checks that it is current.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.core.regions import METRICS_PORT, load_regions
from harness.core.settings import UNHEALTHY_SECONDS, default_number
from harness.verify.limits import PROMISED
from tests.e2e.kubernetes.conftest import HERE, LAYOUTS, Objects, Tools, kubernetes_versions

REGIONS = load_regions()
NAMES = {
    "together": [region.name for region in REGIONS],
    "split": ["us-east-1", "eu-west-1", "us-gov-west-1"],  # ci/per-region-values.yaml
}
PORTS = {region.name: region.port for region in REGIONS}
both_layouts = pytest.mark.parametrize("layout", LAYOUTS)


def of_kind(objects: Objects, kind: str) -> Objects:
    return [found for found in objects if found["kind"] == kind]


def container(deployment: dict[str, Any]) -> dict[str, Any]:
    containers: list[dict[str, Any]] = deployment["spec"]["template"]["spec"]["containers"]
    assert len(containers) == 1
    return containers[0]


def regions_of(deployment: dict[str, Any]) -> list[str]:
    environ = {entry["name"]: entry["value"] for entry in container(deployment)["env"]}
    return str(environ["FINFOCUS_REGIONS"]).split(",")


def conform(tools: Tools, schemas: Path, objects: Objects, version: str) -> dict[str, Any]:
    """Ask kubeconform about `objects` with the schemas of one Kubernetes version."""
    name = "{{.ResourceKind}}{{.KindSuffix}}.json"
    answer = tools.ask(
        "kubeconform",
        *("-strict", "-summary", "-output", "json"),
        *("-schema-location", str(schemas / version / name)),
        *("-schema-location", str(HERE / "schemas" / name)),
        text=yaml.safe_dump_all(objects),
    )
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


@pytest.mark.parametrize("version", kubernetes_versions())
@both_layouts
def test_manifests_conform_to_the_schemas(
    tools: Tools, schemas: Path, version: str, layout: str, request: pytest.FixtureRequest
) -> None:
    """kubeconform accepts every object, each with a schema and without unknown fields."""
    objects = request.getfixturevalue(layout)
    found = conform(tools, schemas, objects, version)
    assert found["summary"] == {"valid": len(objects), "invalid": 0, "errors": 0, "skipped": 0}, (
        found["resources"]
    )


def test_the_schemas_reach_from_1_31_to_at_least_1_37() -> None:
    """Each Kubernetes release from 1.31 on is checked, without a gap."""
    versions = kubernetes_versions()
    assert versions == [f"1.{minor}" for minor in range(31, 31 + len(versions))]
    assert len(versions) >= 7


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param(("spec", "replica"), 2, id="unknown-field"),
        pytest.param(("spec", "replicas"), "two", id="wrong-type"),
        pytest.param(("kind",), "Deploymint", id="unknown-kind"),
    ],
)
def test_a_broken_manifest_does_not_conform(
    tools: Tools, schemas: Path, together: Objects, path: tuple[str, ...], value: object
) -> None:
    """kubeconform with these schemas rejects a wrong field, a wrong type and a wrong kind."""
    broken = copy.deepcopy(of_kind(together, "Deployment")[0])
    place = broken
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert conform(tools, schemas, [broken], "1.31")["summary"]["valid"] == 0


def pod_of(deployment: dict[str, Any]) -> dict[str, Any]:
    template = deployment["spec"]["template"]
    return {"apiVersion": "v1", "kind": "Pod", **template}


@both_layouts
def test_fr_007_pods_are_allowed_by_pod_security_restricted(
    tools: Tools, layout: str, request: pytest.FixtureRequest
) -> None:
    """FR-007 (never root): the API server's evaluator allows every pod under `restricted`."""
    for deployment in of_kind(request.getfixturevalue(layout), "Deployment"):
        answer = tools.ask("podsecurity", text=json.dumps(pod_of(deployment)))
        assert (answer.returncode, answer.stdout) == (0, ""), answer


@pytest.mark.parametrize(
    ("where", "key", "word"),
    [
        pytest.param("container", "capabilities", "capabilities", id="capabilities"),
        pytest.param("container", "allowPrivilegeEscalation", "allowPriv", id="escalation"),
        pytest.param("pod", "runAsNonRoot", "runAsNonRoot", id="root"),
        pytest.param("pod", "seccompProfile", "seccomp", id="seccomp"),
    ],
)
def test_a_lax_pod_is_not_allowed(
    tools: Tools, together: Objects, where: str, key: str, word: str
) -> None:
    """The evaluator rejects the pod if any one of its restrictions is removed."""
    pod = copy.deepcopy(pod_of(of_kind(together, "Deployment")[0]))
    place = pod["spec"] if where == "pod" else pod["spec"]["containers"][0]
    del place["securityContext"][key]
    answer = tools.ask("podsecurity", text=json.dumps(pod))
    assert answer.returncode == 1
    assert word in answer.stdout


def test_fr_007_the_root_file_system_is_read_only_and_nothing_is_mounted(
    together: Objects, split: Objects
) -> None:
    """FR-007: UID 65532, a read-only root, no volume, no token, no limits."""
    for deployment in of_kind(together + split, "Deployment"):
        spec = deployment["spec"]["template"]["spec"]
        assert spec["securityContext"]["runAsUser"] == 65532
        assert container(deployment)["securityContext"]["readOnlyRootFilesystem"] is True
        assert "volumes" not in spec
        assert spec["automountServiceAccountToken"] is False
        assert "limits" not in container(deployment).get("resources", {})
    for account in of_kind(together + split, "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


@both_layouts
def test_every_object_has_the_namespace_of_the_release(
    layout: str, request: pytest.FixtureRequest
) -> None:
    """Nothing lands in another namespace, monitoring and routes included."""
    objects: Objects = request.getfixturevalue(layout)
    assert {found["metadata"].get("namespace") for found in objects} == {"finfocus"}


@both_layouts
def test_fr_012_a_deployment_serves_its_regions_on_named_ports(
    layout: str, request: pytest.FixtureRequest
) -> None:
    """FR-012 (a port per region): container, Service and policy have its ports, and metrics."""
    objects: Objects = request.getfixturevalue(layout)
    services = {found["metadata"]["name"]: found for found in of_kind(objects, "Service")}
    policies = {found["metadata"]["name"]: found for found in of_kind(objects, "NetworkPolicy")}
    deployments = of_kind(objects, "Deployment")
    assert len(deployments) == len(services) == len(policies)
    for deployment in deployments:
        name = deployment["metadata"]["name"]
        expected = {region: PORTS[region] for region in regions_of(deployment)}
        expected["metrics"] = METRICS_PORT
        ports = container(deployment)["ports"]
        assert {port["name"]: port["containerPort"] for port in ports} == expected
        ports = services[name]["spec"]["ports"]
        assert {port["name"]: port["port"] for port in ports} == expected
        assert all(port["targetPort"] == port["name"] for port in ports)
        rules = policies[name]["spec"]["ingress"]
        assert {port["port"] for rule in rules for port in rule["ports"]} == set(expected)
        assert "egress" not in policies[name]["spec"]


def test_one_deployment_has_every_region_and_the_other_layout_one_each(
    together: Objects, split: Objects
) -> None:
    """Layout `all` has one Deployment, layout `perRegion` one for each region of the release."""
    (deployment,) = of_kind(together, "Deployment")
    assert regions_of(deployment) == NAMES["together"]
    assert [regions_of(found) for found in of_kind(split, "Deployment")] == [
        [name] for name in NAMES["split"]
    ]


@both_layouts
def test_selectors_lead_to_exactly_one_deployment(
    layout: str, request: pytest.FixtureRequest
) -> None:
    """Service, budget, policy and spread select only their own Deployment's pods."""
    objects: Objects = request.getfixturevalue(layout)
    deployments = of_kind(objects, "Deployment")

    def selected(labels: dict[str, str]) -> list[str]:
        assert labels
        return [
            found["metadata"]["name"]
            for found in deployments
            if labels.items() <= found["spec"]["template"]["metadata"]["labels"].items()
        ]

    for deployment in deployments:
        own = deployment["metadata"]["name"]
        pods = deployment["spec"]["template"]["spec"]
        assert selected(deployment["spec"]["selector"]["matchLabels"]) == [own]
        apart = pods["affinity"]["podAntiAffinity"]
        (zone,) = apart["preferredDuringSchedulingIgnoredDuringExecution"]
        spreads = [zone["podAffinityTerm"], *pods["topologySpreadConstraints"]]
        assert [spread["topologyKey"].partition("/")[2] for spread in spreads] == [
            "zone",
            "hostname",
        ]
        for spread in spreads:
            assert selected(spread["labelSelector"]["matchLabels"]) == [own]
    for service in of_kind(objects, "Service"):
        assert selected(service["spec"]["selector"]) == [service["metadata"]["name"]]
    for budget in of_kind(objects, "PodDisruptionBudget"):
        assert selected(budget["spec"]["selector"]["matchLabels"]) == [budget["metadata"]["name"]]
    for policy in of_kind(objects, "NetworkPolicy"):
        labels = policy["spec"]["podSelector"]["matchLabels"]
        assert selected(labels) == [policy["metadata"]["name"]]


def test_sc_003_the_grace_period_covers_the_time_to_leave(together: Objects) -> None:
    """SC-003 (exit 0 within 5 s): grace period = wait before SIGTERM + 5 s + some slack."""
    (deployment,) = of_kind(together, "Deployment")
    shell, option, script = container(deployment)["lifecycle"]["preStop"]["exec"]["command"]
    announce, _, pause = script.partition("; exec sleep ")
    assert (shell, option, announce) == ("bash", "-c", "kill -USR2 1")
    grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert int(pause) + PROMISED.stop < grace <= int(pause) + 2 * PROMISED.stop


def test_a_slow_region_does_not_end_the_others(together: Objects) -> None:
    """Liveness and startup probe the proxy; readiness waits longer than the supervisor."""
    (deployment,) = of_kind(together, "Deployment")
    probes = {
        name: container(deployment)[f"{name}Probe"] for name in ("startup", "readiness", "liveness")
    }
    paths = {name: probe["httpGet"]["path"] for name, probe in probes.items()}
    assert paths == {"startup": "/livez", "readiness": "/readyz", "liveness": "/livez"}
    patience = probes["readiness"]["periodSeconds"] * probes["readiness"]["failureThreshold"]
    assert patience > default_number(UNHEALTHY_SECONDS)


@both_layouts
@pytest.mark.parametrize("kind", ["HTTPRoute", "GRPCRoute"])
def test_routes_lead_every_region_to_its_service(
    layout: str, kind: str, request: pytest.FixtureRequest
) -> None:
    """Each region has one rule whose backend is a Service with that port."""
    objects: Objects = request.getfixturevalue(layout)
    ports = {
        (service["metadata"]["name"], port["port"]): port["name"]
        for service in of_kind(objects, "Service")
        for port in service["spec"]["ports"]
    }
    (route,) = of_kind(objects, kind)
    led = {}
    for rule in route["spec"]["rules"]:
        (match,) = rule["matches"]
        (backend,) = rule["backendRefs"]
        named = match["path"]["value"][1:] if kind == "HTTPRoute" else match["headers"][0]["value"]
        led[named] = ports[backend["name"], backend["port"]]
    assert led == {name: name for name in NAMES[layout]}


def test_autoscalers_scale_what_is_there_and_has_a_request(split: Objects) -> None:
    """Every autoscaler's target exists, sets no replicas, and requests CPU."""
    deployments = {found["metadata"]["name"]: found for found in of_kind(split, "Deployment")}
    targets = [
        found["spec"]["scaleTargetRef"]["name"]
        for found in of_kind(split, "HorizontalPodAutoscaler")
    ]
    assert sorted(targets) == sorted(deployments)
    for deployment in deployments.values():
        assert "replicas" not in deployment["spec"]
        assert container(deployment)["resources"]["requests"]["cpu"]


# Measured with price lists of 140 MB: anonymous memory after start (docs/bench.md, "Full size").
@pytest.mark.parametrize(
    ("layout", "measured"),
    [
        pytest.param("together", 6_830_000_000, id="twelve-regions"),
        pytest.param("split", 560_000_000, id="one-region"),
    ],
)
def test_memory_requests_cover_a_start(
    layout: str, measured: int, request: pytest.FixtureRequest
) -> None:
    """A pod requests at least the memory that its regions need to start."""
    deployment = of_kind(request.getfixturevalue(layout), "Deployment")[-1]
    asked = container(deployment)["resources"]["requests"]["memory"]
    assert measured <= int(asked.removesuffix("Mi")) << 20 <= 1.2 * measured
