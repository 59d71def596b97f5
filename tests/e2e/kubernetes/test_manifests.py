"""The manifests are valid for Kubernetes and right for the image; checked without a cluster."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.core.regions import METRICS_PORT, load_regions
from harness.core.settings import UNHEALTHY_SECONDS, default_number
from harness.kubernetes.deploy import write_manifests
from harness.kubernetes.manifests import manifest_files
from harness.verify.limits import PROMISED
from tests.e2e.kubernetes.conftest import DEPLOY, HERE, Tools

REGIONS = load_regions()
NAMES = [region.name for region in REGIONS]
Objects = list[dict[str, Any]]


def of_kind(objects: Objects, kind: str) -> Objects:
    return [found for found in objects if found["kind"] == kind]


def container(deployment: dict[str, Any]) -> dict[str, Any]:
    containers: list[dict[str, Any]] = deployment["spec"]["template"]["spec"]["containers"]
    assert len(containers) == 1
    return containers[0]


def conform(tools: Tools, objects: Objects) -> dict[str, Any]:
    pattern = str(HERE / "schemas" / "{{.ResourceKind}}{{.KindSuffix}}.json")
    answer = tools.ask(
        "kubeconform",
        *("-strict", "-summary", "-output", "json", "-schema-location", pattern),
        text=yaml.safe_dump_all(objects),
    )
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


@pytest.mark.parametrize("layout", ["together", "split"])
def test_manifests_conform_to_the_schemas(
    tools: Tools, layout: str, request: pytest.FixtureRequest
) -> None:
    """kubeconform accepts every object, each with a schema and without unknown fields."""
    objects = request.getfixturevalue(layout)
    found = conform(tools, objects)
    assert found["summary"] == {"valid": len(objects), "invalid": 0, "errors": 0, "skipped": 0}, (
        found["resources"]
    )


def test_fr_018_manifests_of_an_image_with_fewer_regions(tools: Tools, tmp_path: Path) -> None:
    """FR-018 (missing tarball fails the build): both layouts have exactly the remaining regions."""
    few = tuple(region for region in REGIONS if "gov" not in region.name)
    write_manifests(tmp_path / "deploy", few)
    for layout in ("base", "overlays/per-region"):
        objects = tools.render(tmp_path / "deploy" / layout)
        assert conform(tools, objects)["summary"]["valid"] == len(objects)
        ports = {
            port["name"]: port["port"]
            for service in of_kind(objects, "Service")
            for port in service["spec"]["ports"]
        }
        assert ports == {region.name: region.port for region in few} | {"metrics": METRICS_PORT}
        assert "us-gov" not in json.dumps(objects)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param(("spec", "replica"), 2, id="unknown-field"),
        pytest.param(("spec", "replicas"), "two", id="wrong-type"),
        pytest.param(("kind",), "Deploymint", id="unknown-kind"),
    ],
)
def test_a_broken_manifest_does_not_conform(
    tools: Tools, together: Objects, path: tuple[str, ...], value: object
) -> None:
    """kubeconform with these schemas rejects a wrong field, a wrong type and a wrong kind."""
    broken = copy.deepcopy(of_kind(together, "Deployment")[0])
    place = broken
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert conform(tools, [broken])["summary"]["valid"] == 0


def pod_of(deployment: dict[str, Any]) -> dict[str, Any]:
    template = deployment["spec"]["template"]
    return {"apiVersion": "v1", "kind": "Pod", **template}


@pytest.mark.parametrize("layout", ["together", "split"])
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


def test_fr_012_one_deployment_serves_every_region_on_its_named_port(together: Objects) -> None:
    """FR-012 (a port per region): container, Service and policy have all ports, and metrics."""
    expected = {region.name: region.port for region in REGIONS} | {"metrics": METRICS_PORT}
    (deployment,) = of_kind(together, "Deployment")
    (service,) = of_kind(together, "Service")
    (policy,) = of_kind(together, "NetworkPolicy")
    ports = container(deployment)["ports"]
    assert {port["name"]: port["containerPort"] for port in ports} == expected
    assert {port["name"]: port["port"] for port in service["spec"]["ports"]} == expected
    assert all(port["targetPort"] == port["name"] for port in service["spec"]["ports"])
    (ingress,) = policy["spec"]["ingress"]
    assert {port["port"] for port in ingress["ports"]} == set(expected)


def test_every_region_has_a_deployment_and_a_service_of_its_own(split: Objects) -> None:
    """The split layout has one region per Deployment and one Service with its port."""
    deployments = {
        container(found)["env"][0]["value"]: found for found in of_kind(split, "Deployment")
    }
    assert list(deployments) and set(deployments) == set(NAMES)
    services = {found["metadata"]["name"]: found for found in of_kind(split, "Service")}
    for region in REGIONS:
        deployment = deployments[region.name]
        assert container(deployment)["env"] == [{"name": "FINFOCUS_REGIONS", "value": region.name}]
        names = [port["name"] for port in container(deployment)["ports"]]
        assert names == [region.name, "metrics"]
        service = services[deployment["metadata"]["name"]]
        assert [port["port"] for port in service["spec"]["ports"]] == [region.port, METRICS_PORT]


@pytest.mark.parametrize("layout", ["together", "split"])
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
        (spread,) = pods["topologySpreadConstraints"]
        assert selected(spread["labelSelector"]["matchLabels"]) == [own]
    for service in of_kind(objects, "Service"):
        assert selected(service["spec"]["selector"]) == [service["metadata"]["name"]]
    for budget in of_kind(objects, "PodDisruptionBudget"):
        assert selected(budget["spec"]["selector"]["matchLabels"]) == [budget["metadata"]["name"]]
    for policy in of_kind(objects, "NetworkPolicy"):
        labels = policy["spec"]["podSelector"]["matchLabels"]
        assert selected(labels) == [policy["metadata"]["name"]]


def test_the_two_layouts_do_not_select_each_other(together: Objects, split: Objects) -> None:
    """Both layouts can run in one namespace while one replaces the other."""
    for ours, theirs in ((together, split), (split, together)):
        for deployment in of_kind(ours, "Deployment"):
            labels = deployment["spec"]["selector"]["matchLabels"].items()
            for other in of_kind(theirs, "Deployment"):
                assert not labels <= other["spec"]["template"]["metadata"]["labels"].items()


def test_sc_003_the_grace_period_covers_the_time_to_leave(together: Objects) -> None:
    """SC-003 (exit 0 within 5 s): grace period = wait before SIGTERM + 5 s + some slack."""
    (deployment,) = of_kind(together, "Deployment")
    command = container(deployment)["lifecycle"]["preStop"]["exec"]["command"]
    assert command[0] == "sleep"
    grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert int(command[1]) + PROMISED.stop < grace <= int(command[1]) + 2 * PROMISED.stop


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


@pytest.mark.parametrize("layout", ["together", "split"])
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
    assert led == {name: name for name in NAMES}


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


def test_generated_manifests_are_as_the_table_says() -> None:
    """Every generated manifest in the checkout matches the regions table."""
    for name, text in manifest_files(REGIONS).items():
        assert (DEPLOY / name).read_text(encoding="utf-8") == text, name
