"""The cluster's metrics API, which autoscalers read: metrics-server beside the control plane."""

import json

from harness.stand_ins.cluster.node import Node
from harness.stand_ins.cluster.settings import PLACES

PORT = 4443
_NAME = "metrics-server"
_KUBECONFIG = "/run/kubernetes/admin.kubeconfig"
_GROUP, _VERSION = "metrics.k8s.io", "v1beta1"


def command(program: str) -> list[str]:
    """metrics-server; it asks every kubelet every 10 s, the fastest pace it accepts."""
    return [
        program,
        f"--kubeconfig={_KUBECONFIG}",
        f"--authentication-kubeconfig={_KUBECONFIG}",
        f"--authorization-kubeconfig={_KUBECONFIG}",
        "--cert-dir=/run/kubernetes/metrics",
        "--kubelet-insecure-tls",  # kubelets sign their own certificates
        "--kubelet-preferred-address-types=InternalIP",
        "--metric-resolution=10s",
        "--kubelet-request-timeout=5s",  # must be shorter than the resolution
        f"--secure-port={PORT}",
    ]


def serve_metrics(first: Node) -> None:
    """Start metrics-server on the first node and register its API."""
    path = first.programs.path
    first.box.start(_NAME, command(path(_NAME)))
    manifest = first.box.directory / "metrics.json"
    manifest.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": _objects()}))
    kubectl = [path("kubectl"), f"--kubeconfig={_KUBECONFIG}"]
    first.box.run([*kubectl, "apply", f"--filename={manifest}"])
    api = ["wait", f"apiservice/{_VERSION}.{_GROUP}", "--for=condition=Available"]
    first.wait(
        "the metrics API is available", lambda: first.succeeds([*kubectl, *api, "--timeout=5s"])
    )


def _objects() -> list[dict[str, object]]:
    where = {"name": _NAME, "namespace": "kube-system"}
    # The API server has no client certificate here: it asks as an anonymous user, inside the box.
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": _NAME}
    anonymous = {"apiGroup": role["apiGroup"], "kind": "User", "name": "system:anonymous"}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": where,
            "spec": {"ports": [{"port": PORT}]},
        },
        {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": where,
            "subsets": [{"addresses": [{"ip": PLACES[0].address}], "ports": [{"port": PORT}]}],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": _NAME},
            "rules": [
                {"apiGroups": [_GROUP], "resources": ["*"], "verbs": ["get", "list", "watch"]},
                {"nonResourceURLs": ["*"], "verbs": ["get"]},
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": _NAME},
            "roleRef": role,
            "subjects": [anonymous],
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": f"{_VERSION}.{_GROUP}"},
            "spec": {
                "group": _GROUP,
                "version": _VERSION,
                "service": {**where, "port": PORT},
                "insecureSkipTLSVerify": True,
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
            },
        },
    ]
