"""The Helm chart: what its values do, and which values it rejects. Needs Helm."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yamale
import yaml

from harness.core.errors import CommandError
from harness.core.go_tools import module_directory
from harness.core.process import run
from harness.core.regions import load_regions
from harness.kubernetes.chart import CHART, write_chart
from harness.kubernetes.helm import Helm
from harness.kubernetes.names import APP
from tests.e2e.kubernetes.conftest import (
    LAYOUTS,
    RENDERED,
    Objects,
    Tools,
    kubernetes_versions,
    objects_in,
    rendered,
)
from tests.e2e.kubernetes.render import render
from tests.e2e.kubernetes.test_manifests import conform, container, of_kind, pod_of

TAG = "--set=image.tag=v1"
DIGEST = f"sha256:{'a' * 64}"
OTHER = f"sha256:{'b' * 64}"
PER_REGION = "--set=layout=perRegion"
OLDEST, *_, NEWEST = kubernetes_versions()
EVERYTHING = (
    "--set=monitoring.enabled=true,autoscaling.enabled=true",
    "--set=gateway.enabled=true,gateway.className=example",
)


@pytest.mark.parametrize("name", LAYOUTS.values())
def test_rendered_manifests_are_current(helm: Helm, name: str) -> None:
    """`rendered/` is what the chart makes now: run `python -m tests.e2e.kubernetes.render`."""
    committed = (RENDERED / f"{name}.yaml").read_text(encoding="utf-8")
    assert objects_in(committed) == objects_in(render(helm, name))


@pytest.mark.parametrize("name", [*LAYOUTS.values(), "default"])
def test_helm_lint_finds_nothing(helm: Helm, name: str) -> None:
    """`helm lint --strict` passes with the chart's own values and with those of `ci/`."""
    values = [] if name == "default" else [f"--values={CHART / 'ci' / f'{name}-values.yaml'}"]
    helm.run("lint", "--strict", str(CHART), *values)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        pytest.param({"replica": 2}, "replica", id="unknown-name"),
        pytest.param({"regions": ["us-east-9"]}, "regions", id="unknown-region"),
        pytest.param({"regions": []}, "regions", id="no-region"),
        pytest.param({"layout": "split"}, "layout", id="unknown-layout"),
        pytest.param({"image": {"digest": "sha256:1"}}, "digest", id="short-digest"),
        pytest.param(
            {"env": [{"name": "FINFOCUS_REGIONS", "value": "x"}]}, "env", id="regions-as-variable"
        ),
        pytest.param({"overrides": {"us-east-1": {"replicas": 1}}}, "no effect", id="layout-all"),
        pytest.param(
            {
                "layout": "perRegion",
                "regions": ["us-east-1"],
                "overrides": {"eu-west-1": {"replicas": 1}},
            },
            "not in regions",
            id="override-of-another-region",
        ),
        pytest.param({"gateway": {"enabled": True}}, "gateway.className", id="no-gateway"),
        pytest.param({"image": {"tag": ""}}, "names no image", id="no-image"),
    ],
)
def test_values_that_cannot_work_are_rejected(
    helm: Helm, tmp_path: Path, values: dict[str, Any], words: str
) -> None:
    """A typing error or a contradiction is an error that names the value."""
    (tmp_path / "values.json").write_text(json.dumps({"image": {"tag": "v1"}, **values}))
    with pytest.raises(CommandError, match=words):
        rendered(helm, f"--values={tmp_path / 'values.json'}")


def released(directory: Path) -> Path:
    """A chart as a release makes it, with the digests of its images."""
    write_chart(directory, load_regions())
    release = {"tag": "v0.1.6", "digests": {"all": DIGEST, "us-east-1": OTHER}}
    (directory / "files" / "release.yaml").write_text(yaml.safe_dump(release), encoding="utf-8")
    return directory


BIG = f"ghcr.io/rshade/{APP}"


@pytest.mark.parametrize(
    ("arguments", "image"),
    [
        pytest.param([], f"{BIG}:v0.1.6@{DIGEST}", id="release"),
        pytest.param([PER_REGION], f"{BIG}:v0.1.6-us-east-1@{OTHER}", id="release-per-region"),
        pytest.param(
            [PER_REGION, "--set=regions={eu-west-1}"],
            f"{BIG}:v0.1.6@{DIGEST}",
            id="release-without-an-image-for-the-region",
        ),
        pytest.param(
            [PER_REGION, "--set=image.perRegion=false"],
            f"{BIG}:v0.1.6@{DIGEST}",
            id="release-per-region-big-image",
        ),
        pytest.param(
            ["--set=image.repository=mirror.example/f"],
            f"mirror.example/f:v0.1.6@{DIGEST}",
            id="mirror-keeps-the-digest",
        ),
        pytest.param(["--set=image.tag=v9"], f"{BIG}:v9", id="a-tag-drops-the-digest"),
        pytest.param(
            [PER_REGION, "--set=image.tag=v9"], f"{BIG}:v9-us-east-1", id="a-tag-per-region"
        ),
        pytest.param([f"--set=image.digest={OTHER}"], f"{BIG}@{OTHER}", id="a-digest"),
        pytest.param(
            [PER_REGION, f"--set=overrides.us-east-1.image.digest={DIGEST}"],
            f"{BIG}@{DIGEST}",
            id="a-digest-of-one-region",
        ),
        pytest.param(
            [PER_REGION, "--set=overrides.us-east-1.image.perRegion=false"],
            f"{BIG}:v0.1.6@{DIGEST}",
            id="false-in-an-override-counts",
        ),
    ],
)
def test_the_image_of_a_published_chart(
    helm: Helm, tmp_path: Path, arguments: list[str], image: str
) -> None:
    """Pods run the release's digests unless the user names another tag or digest."""
    text = helm.template(
        released(tmp_path / "chart"), "--set=regions={us-east-1}", *arguments, name=APP
    )
    objects = objects_in(text)
    assert container(of_kind(objects, "Deployment")[0])["image"] == image
    (test,) = of_kind(objects, "Pod")
    assert test["spec"]["containers"][0]["image"] == image


@pytest.mark.parametrize("layout", ["all", "perRegion"])
def test_a_subset_of_regions_leaves_nothing_dangling(
    helm: Helm, tools: Tools, schemas: Path, layout: str
) -> None:
    """Autoscalers, routes, budgets and policies exist for the release's regions only."""
    objects = rendered(
        helm, TAG, *EVERYTHING, f"--set=layout={layout}", "--set=regions={eu-west-1,us-gov-west-1}"
    )
    deployments = {found["metadata"]["name"] for found in of_kind(objects, "Deployment")}
    ports = {
        (service["metadata"]["name"], port["port"])
        for service in of_kind(objects, "Service")
        for port in service["spec"]["ports"]
    }
    assert {name for name, _ in ports} == deployments
    for kind in ("HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy"):
        assert {found["metadata"]["name"] for found in of_kind(objects, kind)} == deployments
    for scaler in of_kind(objects, "HorizontalPodAutoscaler"):
        assert scaler["spec"]["scaleTargetRef"]["name"] in deployments
    for route in of_kind(objects, "HTTPRoute") + of_kind(objects, "GRPCRoute"):
        backends = [back for rule in route["spec"]["rules"] for back in rule["backendRefs"]]
        assert len(backends) == 2
        assert {(back["name"], back["port"]) for back in backends} <= ports
    others = {region.name for region in load_regions()} - {"eu-west-1", "us-gov-west-1"}
    text = json.dumps([found for found in objects if found["kind"] != "ConfigMap"])
    assert not [name for name in others if name in text]
    assert conform(tools, schemas, objects, OLDEST)["summary"]["valid"] == len(objects)


@pytest.mark.parametrize("layout", ["all", "perRegion"])
def test_every_region_and_feature_conforms(
    helm: Helm, tools: Tools, schemas: Path, layout: str
) -> None:
    """All regions with monitoring, rules, dashboard, gateway and autoscaling are valid objects."""
    objects = rendered(helm, TAG, *EVERYTHING, f"--set=layout={layout}")
    found = conform(tools, schemas, objects, NEWEST)
    assert found["summary"]["valid"] == len(objects), found["resources"]


def test_two_releases_share_a_namespace(helm: Helm) -> None:
    """An example of the documentation: a release per partition; no name or selector is shared."""
    government = "us-gov-west-1,us-gov-east-1"
    commercial = ",".join(r.name for r in load_regions() if "gov" not in r.name)
    releases = [
        objects_in(
            helm.template(
                CHART, TAG, *EVERYTHING, f"--set=regions={{{names}}}", name=name, namespace="n"
            )
        )
        for name, names in (("commercial", commercial), ("government", government))
    ]
    names = [
        {(found["kind"], found["metadata"]["name"]) for found in objects} for objects in releases
    ]
    assert not names[0] & names[1]
    for ours, theirs in (releases, releases[::-1]):
        for service in of_kind(ours, "Service"):
            selector = service["spec"]["selector"].items()
            for other in of_kind(theirs, "Deployment"):
                assert not selector <= other["spec"]["template"]["metadata"]["labels"].items()


def test_selectors_never_change(helm: Helm) -> None:
    """Kubernetes rejects a changed selector, so an upgrade needs exactly these labels."""
    for arguments in ([], ["--set=commonLabels.team=prices,podLabels.a=b,image.tag=v2"]):
        (deployment,) = of_kind(rendered(helm, TAG, *arguments), "Deployment")
        assert deployment["metadata"]["name"] == APP
        assert deployment["spec"]["selector"]["matchLabels"] == {
            "app.kubernetes.io/name": APP,
            "app.kubernetes.io/instance": APP,
            "finfocus.com/region": "all",
        }


def test_openshift_gets_no_fixed_user_id(helm: Helm, tools: Tools) -> None:
    """OpenShift's SCC restricted-v2 assigns the user ID; the pod stays `restricted`."""
    objects = rendered(helm, TAG, "--set=openshift=true")
    for pod in [*map(pod_of, of_kind(objects, "Deployment")), *of_kind(objects, "Pod")]:
        assert pod["spec"]["securityContext"] == {
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        answer = tools.ask("podsecurity", text=json.dumps(pod))
        assert (answer.returncode, answer.stdout) == (0, ""), answer


def test_the_test_pod_is_allowed_by_pod_security_restricted(helm: Helm, tools: Tools) -> None:
    """FR-007 (never root): the pod of `helm test` runs in the same namespaces as the plugin."""
    (pod,) = of_kind(rendered(helm, TAG), "Pod")
    answer = tools.ask("podsecurity", text=json.dumps(pod))
    assert (answer.returncode, answer.stdout) == (0, ""), answer


def deployment_of(helm: Helm, *arguments: str) -> dict[str, Any]:
    (found,) = of_kind(rendered(helm, TAG, *arguments), "Deployment")
    spec: dict[str, Any] = found["spec"]
    return spec


@pytest.mark.parametrize(
    ("argument", "path", "value"),
    [
        pytest.param(
            "imagePullSecrets[0].name=mine", "imagePullSecrets", [{"name": "mine"}], id="secret"
        ),
        pytest.param("priorityClassName=high", "priorityClassName", "high", id="priority"),
        pytest.param("nodeSelector.disk=ssd", "nodeSelector", {"disk": "ssd"}, id="node-selector"),
        pytest.param(
            "serviceAccount.create=false,serviceAccount.name=mine",
            "serviceAccountName",
            "mine",
            id="service-account",
        ),
        pytest.param("preStopSeconds=30", "terminationGracePeriodSeconds", 40, id="pre-stop"),
    ],
)
def test_a_value_reaches_the_pod(helm: Helm, argument: str, path: str, value: object) -> None:
    """The value appears in the pod's specification."""
    assert deployment_of(helm, f"--set={argument}")["template"]["spec"][path] == value


NODES: dict[str, Any] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}}


def test_pods_are_spread_where_nodes_have_no_zone(helm: Helm) -> None:
    """A soft constraint on the zone would disable that on the host: it is an affinity instead."""
    pods = deployment_of(helm, f"--set-json=affinity={json.dumps(NODES)}")["template"]["spec"]
    assert [entry["topologyKey"] for entry in pods["topologySpreadConstraints"]] == [
        "kubernetes.io/hostname"
    ]
    (zone,) = pods["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert zone["podAffinityTerm"]["topologyKey"] == "topology.kubernetes.io/zone"
    assert pods["affinity"]["nodeAffinity"] == NODES["nodeAffinity"]


def test_a_strict_spread_is_two_constraints_and_no_affinity(helm: Helm) -> None:
    """`DoNotSchedule` requires a zone and a host name on every node."""
    pods = deployment_of(helm, "--set=topologySpread.whenUnsatisfiable=DoNotSchedule")["template"]
    keys = [entry["topologyKey"] for entry in pods["spec"]["topologySpreadConstraints"]]
    assert keys == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    assert "affinity" not in pods["spec"]


def test_overrides_change_one_region_only(helm: Helm) -> None:
    """Replicas, resources and autoscaling of one region; the others keep the common values."""
    objects = rendered(
        helm,
        TAG,
        PER_REGION,
        "--set=regions={us-east-1,eu-west-1}",
        "--set=overrides.us-east-1.replicas=5",
        "--set=overrides.us-east-1.resources.requests.cpu=2",
        "--set=overrides.eu-west-1.autoscaling.enabled=true",
    )
    busy, scaled = of_kind(objects, "Deployment")
    assert busy["spec"]["replicas"] == 5
    assert container(busy)["resources"] == {"requests": {"cpu": 2}}
    assert "replicas" not in scaled["spec"]
    assert container(scaled)["resources"]["requests"]["memory"] == "576Mi"
    (scaler,) = of_kind(objects, "HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"]["name"] == scaled["metadata"]["name"]


def test_labels_reach_what_the_operator_selects(helm: Helm) -> None:
    """kube-prometheus-stack selects by `release`; monitoring may live in its namespace."""
    objects = rendered(
        helm,
        TAG,
        *EVERYTHING,
        "--set=monitoring.labels.release=kube-prometheus-stack,monitoring.namespace=monitoring",
    )
    for kind in ("PodMonitor", "PrometheusRule"):
        (found,) = of_kind(objects, kind)
        assert found["metadata"]["labels"]["release"] == "kube-prometheus-stack"
        assert found["metadata"]["namespace"] == "monitoring"
    (monitor,) = of_kind(objects, "PodMonitor")
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": ["finfocus"]}


def test_the_rules_and_the_dashboard_are_the_files(helm: Helm) -> None:
    """The PrometheusRule has the file and the regions, the ConfigMap the dashboard."""
    objects = rendered(helm, TAG, *EVERYTHING, "--set=regions={us-east-1,eu-west-1}")
    (rule,) = of_kind(objects, "PrometheusRule")
    rules = yaml.safe_load((CHART / "files" / "rules.yaml").read_text(encoding="utf-8"))
    *shared, expected = rule["spec"]["groups"]
    assert {"groups": shared} == rules
    assert [row["labels"] for row in expected["rules"]] == [
        {"namespace": "finfocus", "finfocus_region": region}
        for region in ("us-east-1", "eu-west-1")
    ]
    assert {row["record"] for row in expected["rules"]} == {"finfocus_region_expected"}
    (dashboard,) = of_kind(objects, "ConfigMap")
    (text,) = dashboard["data"].values()
    file = (CHART / "files" / "dashboard.json").read_text(encoding="utf-8")
    assert json.loads(text) == json.loads(file)


def test_more_network_rules_are_added(helm: Helm, tmp_path: Path) -> None:
    """Extra rules extend the policy; the built-in ones stay."""
    values = {
        "networkPolicy": {
            "from": [{"podSelector": {"matchLabels": {"app": "client"}}}],
            "extraIngress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}],
            "extraEgress": [{"ports": [{"port": 53, "protocol": "UDP"}]}],
        }
    }
    (tmp_path / "values.json").write_text(json.dumps(values))
    objects = rendered(helm, TAG, f"--values={tmp_path / 'values.json'}")
    (policy,) = of_kind(objects, "NetworkPolicy")
    ingress = policy["spec"]["ingress"]
    assert [rule.get("from") for rule in ingress] == [
        values["networkPolicy"]["from"],
        [{"namespaceSelector": {}}],
        [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
    ]
    assert policy["spec"]["egress"] == values["networkPolicy"]["extraEgress"]


def test_an_existing_gateway_is_used(helm: Helm) -> None:
    """With parentRefs and no class the chart creates routes only."""
    objects = rendered(
        helm, TAG, "--set=gateway.enabled=true", "--set=gateway.parentRefs[0].name=shared"
    )
    assert not of_kind(objects, "Gateway")
    for kind in ("HTTPRoute", "GRPCRoute"):
        (route,) = of_kind(objects, kind)
        assert route["spec"]["parentRefs"] == [{"name": "shared"}]


def test_tls_ends_at_the_gateway(helm: Helm) -> None:
    """With a certificate the Gateway listens on 443 for HTTPS."""
    objects = rendered(helm, TAG, *EVERYTHING, "--set=gateway.tlsSecretName=certificate")
    (gateway,) = of_kind(objects, "Gateway")
    (listener,) = gateway["spec"]["listeners"]
    assert (listener["port"], listener["protocol"]) == (443, "HTTPS")
    assert listener["tls"] == {"certificateRefs": [{"name": "certificate"}]}


def test_a_chart_for_fewer_regions_rejects_the_others(helm: Helm, tmp_path: Path) -> None:
    """FR-018: the chart of an image without some regions has no port for them."""
    few = tuple(region for region in load_regions() if "gov" not in region.name)
    write_chart(tmp_path / "chart", few)
    objects: Objects = objects_in(helm.template(tmp_path / "chart", TAG, name=APP))
    assert "us-gov" not in json.dumps(objects)
    with pytest.raises(CommandError, match="regions"):
        helm.template(tmp_path / "chart", TAG, "--set=regions={us-gov-west-1}", name=APP)


@pytest.fixture(scope="module")
def chart_testing() -> Path:
    """The configuration files of chart-testing (https://github.com/helm/chart-testing)."""
    return module_directory("github.com/helm/chart-testing/v3@v3.14.0") / "etc"


def test_yaml_follows_the_rules_of_chart_testing(chart_testing: Path) -> None:
    """`ct lint` runs yamllint on these files."""
    files = [CHART / "Chart.yaml", CHART / "values.yaml", *sorted((CHART / "ci").glob("*"))]
    names = [str(path) for path in files]
    run([sys.executable, "-m", "yamllint", "-c", str(chart_testing / "lintconf.yaml"), *names])


@pytest.mark.parametrize("wrong", ["", "apiVersion"])
def test_the_metadata_follow_the_rules_of_chart_testing(
    chart_testing: Path, tmp_path: Path, wrong: str
) -> None:
    """`ct lint` checks `Chart.yaml` against a schema, and wants maintainers."""
    about = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert all(maintainer["name"] for maintainer in about["maintainers"])
    about.pop(wrong, None)
    (tmp_path / "Chart.yaml").write_text(yaml.safe_dump(about), encoding="utf-8")
    schema = yamale.make_schema(str(chart_testing / "chart_schema.yaml"))
    data = yamale.make_data(str(tmp_path / "Chart.yaml"))
    if not wrong:
        yamale.validate(schema, data)
        return
    with pytest.raises(yamale.YamaleError, match=wrong):
        yamale.validate(schema, data)
