"""Check that the API server admits the custom resources, with their definitions installed."""

from harness.core.errors import HarnessError
from harness.core.go_tools import module_directory
from harness.kubernetes.stage import ALL, PER_REGION, Stage

TITLE = "the API server admits Gateway, routes, PodMonitor and PrometheusRule of both layouts"
# The definitions are part of the projects' Go modules: module, version, directory.
_DEFINITIONS = (
    ("sigs.k8s.io/gateway-api", "v1.6.3", "config/crd/standard"),
    (
        "github.com/prometheus-operator/prometheus-operator",
        "v0.85.0",
        "example/prometheus-operator-crd",
    ),
)
_KINDS = (
    "gateways.gateway.networking.k8s.io",
    "httproutes.gateway.networking.k8s.io",
    "grpcroutes.gateway.networking.k8s.io",
    "podmonitors.monitoring.coreos.com",
    "prometheusrules.monitoring.coreos.com",
)


def check_admission(stage: Stage) -> None:
    """US-1: the objects of the gateway and of monitoring are valid, by the definitions' own rules.

    The definitions are installed on a cluster of this run only.
    """
    with stage.recorder.check("US-1", TITLE, scenario="admission") as finding:
        if stage.cluster.own:
            try:
                directories = [
                    module_directory(f"{module}@{version}") / path
                    for module, version, path in _DEFINITIONS
                ]
            except HarnessError as error:
                finding.skip(f"the definitions cannot be had: {error}")
            for directory in directories:
                stage.kubectl.run("apply", "--server-side", f"--filename={directory}")
        found = stage.kubectl.run("get", "crd", "--output=name")
        if missing := [kind for kind in _KINDS if kind not in found]:
            finding.skip(f"the cluster lacks the definitions of {', '.join(missing)}")
        established = ("wait", "--for=condition=Established", "--timeout=60s")
        stage.kubectl.run(*established, *(f"crd/{kind}" for kind in _KINDS))
        count = 0
        for layout in (ALL, PER_REGION):
            manifests = stage.manifests(
                layout,
                gateway={"enabled": True, "className": "example"},
                monitoring={"enabled": True},
                autoscaling={"enabled": True},
            )
            text = stage.kubectl.apply(manifests, "--dry-run=server", "--output=name")
            for kind in _KINDS:
                finding.expect(_singular(kind) in text, f"{layout} has no {kind}")
            count += len(text.splitlines())
        finding.measured = f"{count} objects"


def _singular(kind: str) -> str:
    plural, _, group = kind.partition(".")
    return f"{plural.removesuffix('s')}.{group}/"
