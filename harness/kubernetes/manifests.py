"""Generate the Kubernetes manifests that have one file or one rule per region."""

import textwrap
from collections.abc import Mapping, Sequence

from harness.core.errors import UsageError
from harness.core.regions import Region
from harness.core.settings import UNHEALTHY_SECONDS, default_number

APP = "finfocus-plugin-aws-public"
REGION_LABEL = "finfocus.com/region"
REGION_HEADER = "finfocus-region"
HEADER = "# generated from image/regions by `python -m harness.generate`\n"
REGION_START_BYTES = 570_000_000
"""Anonymous memory of a region after start, with a price list of 140 MB (docs/bench.md)."""
PARTS_BYTES = 30_000_000
"""Memory of supervisor, proxy and log writer."""
_READINESS_PERIOD = 2  # seconds, as in deploy/base/deployment.yaml
_RESTART_SECONDS = 20  # what a restart may take before the pod leaves the Service
_MAX_PORT_NAME = 15  # RFC 6335, section 5.1, and the API server
_RULES_PER_ROUTE = 16  # limit in the CustomResourceDefinitions of HTTPRoute and GRPCRoute


def manifest_files(regions: Sequence[Region]) -> Mapping[str, str]:
    """Return the text of every fully generated file, by its path under `deploy/`.

    Raises `UsageError` for what Kubernetes would reject: a region name too long for a port name,
    or more regions than rules allowed in a route.
    """
    if long := [region.name for region in regions if len(region.name) > _MAX_PORT_NAME]:
        raise UsageError(
            f"{long[0]} is too long for a port name (at most {_MAX_PORT_NAME} characters)"
        )
    if len(regions) > _RULES_PER_ROUTE:
        raise UsageError(
            f"{len(regions)} regions exceed the limit of {_RULES_PER_ROUTE} rules per route:"
            " split the route"
        )
    files = {
        "overlays/per-region/kustomization.yaml": _per_region(regions),
        "components/requests/kustomization.yaml": _requests(regions),
        "components/autoscaling/kustomization.yaml": _autoscaling(regions),
        "components/autoscaling/horizontalpodautoscalers.yaml": _autoscalers(regions),
    }
    for region in regions:
        files[f"overlays/per-region/{region.name}/kustomization.yaml"] = _one_region(region)
    for directory, split in (("gateway", False), ("gateway-per-region", True)):
        files[f"components/{directory}/kustomization.yaml"] = HEADER + _GATEWAY_COMPONENT
        files[f"components/{directory}/gateway.yaml"] = HEADER + _GATEWAY
        files[f"components/{directory}/httproute.yaml"] = _http_route(regions, split=split)
        files[f"components/{directory}/grpcroute.yaml"] = _grpc_route(regions, split=split)
    return files


def readiness_threshold() -> str:
    """The readiness probe's `failureThreshold`: the supervisor restarts a hung region first.

    Raises `UsageError` if the settings table cannot be read.
    """
    seconds = default_number(UNHEALTHY_SECONDS) + _RESTART_SECONDS
    return f"            failureThreshold: {-(-seconds // _READINESS_PERIOD)}"


def prometheus_rule(rules: str) -> str:
    """Return a PrometheusRule with the text of a rules file, without its comments."""
    body = "\n".join(line for line in rules.splitlines() if not line.startswith("#"))
    return f"""\
# generated from rules.yaml by `python -m harness.generate`
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: {APP}
  labels:
    app.kubernetes.io/name: {APP}
spec:
{textwrap.indent(body, "  ")}
"""


def container_ports(regions: Sequence[Region]) -> str:
    """Return the container ports, each named after its region."""
    return "\n".join(_container_port(region, " " * 12) for region in regions)


def _container_port(region: Region, indent: str) -> str:
    lines = (f"- name: {region.name}", f"  containerPort: {region.port}", "  protocol: TCP")
    return "\n".join(indent + line for line in lines)


def service_ports(regions: Sequence[Region]) -> str:
    """Return the Service ports: HTTP/1.1 and HTTP/2 without TLS on each."""
    return "\n".join(
        f"    - name: {region.name}\n"
        f"      port: {region.port}\n"
        f"      targetPort: {region.name}\n"
        "      protocol: TCP\n"
        "      appProtocol: kubernetes.io/h2c"
        for region in regions
    )


def policy_ports(regions: Sequence[Region]) -> str:
    """Return the region ports that the network policy opens."""
    return "\n".join(
        f"        - port: {region.name}\n          protocol: TCP" for region in regions
    )


def service_name(region: Region, *, split: bool) -> str:
    """Return the name of the Service for `region`: shared, or its own if `split`."""
    return f"{APP}-{region.name}" if split else APP


def _per_region(regions: Sequence[Region]) -> str:
    return (
        HEADER + "# One Deployment, Service, PodDisruptionBudget and NetworkPolicy per region:\n"
        "# `kubectl apply -k deploy/overlays/per-region`. Scale a region with `replicas`.\n"
        "apiVersion: kustomize.config.k8s.io/v1beta1\n"
        "kind: Kustomization\n"
        "resources:\n" + "".join(f"  - {region.name}\n" for region in regions)
    )


def _one_region(region: Region) -> str:
    return f"""\
{HEADER}apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
nameSuffix: -{region.name}
labels:
  - pairs:
      {REGION_LABEL}: {region.name}
    includeSelectors: true
    includeTemplates: true
resources:
  - ../../../base
patches:
  - target:
      kind: Deployment
    patch: |-
      - op: add
        path: /spec/template/spec/containers/0/env
        value:
          - name: FINFOCUS_REGIONS
            value: {region.name}
      - op: replace
        path: /spec/template/spec/containers/0/ports
        value:
          - name: {region.name}
            containerPort: {region.port}
            protocol: TCP
          - name: metrics
            containerPort: 9090
            protocol: TCP
      # There are no neighbours to keep in service: a pod that is not ready leaves at once.
      - op: replace
        path: /spec/template/spec/containers/0/readinessProbe/failureThreshold
        value: 2
  - target:
      kind: Service
    patch: |-
      - op: replace
        path: /spec/ports
        value:
          - name: {region.name}
            port: {region.port}
            targetPort: {region.name}
            protocol: TCP
            appProtocol: kubernetes.io/h2c
          - name: metrics
            port: 9090
            targetPort: metrics
            protocol: TCP
  - target:
      kind: NetworkPolicy
    patch: |-
      - op: replace
        path: /spec/ingress/0/ports
        value:
          - port: {region.name}
            protocol: TCP
          - port: metrics
            protocol: TCP
"""


def memory_request(count: int) -> str:
    """Return the memory request of a pod with `count` regions, in multiples of 64 MiB."""
    need = count * REGION_START_BYTES + PARTS_BYTES
    return f"{-(-need // (64 << 20)) * 64}Mi"


def _requests(regions: Sequence[Region]) -> str:
    return f"""\
{HEADER}# What the scheduler reserves for a pod of all regions; docs/kubernetes.md says why.
# No limits: a region that is throttled, or killed for its memory, fails its users more than it
# helps its neighbours.
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
patches:
  - target:
      kind: Deployment
    patch: |-
      - op: add
        path: /spec/template/spec/containers/0/resources
        value:
          requests:
            cpu: "1"
            memory: {memory_request(len(regions))}
"""


def _autoscaling(regions: Sequence[Region]) -> str:
    return (
        HEADER + "# For overlays/per-region. The autoscalers own the number of replicas, and need\n"
        "# a CPU request to compare with (docs/kubernetes.md) and a metrics server.\n"
        "apiVersion: kustomize.config.k8s.io/v1alpha1\n"
        "kind: Component\n"
        "resources:\n"
        "  - horizontalpodautoscalers.yaml\n"
        "patches:\n"
        "  - target:\n"
        "      kind: Deployment\n"
        f"      labelSelector: {REGION_LABEL} in ({', '.join(r.name for r in regions)})\n"
        "    patch: |-\n"
        "      - op: remove\n"
        "        path: /spec/replicas\n"
        "      - op: add\n"
        "        path: /spec/template/spec/containers/0/resources\n"
        "        value:\n"
        "          requests:\n"
        "            cpu: 100m\n"
        f"            memory: {memory_request(1)}\n"
    )


def _autoscalers(regions: Sequence[Region]) -> str:
    return HEADER + "---\n".join(
        f"""\
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {service_name(region, split=True)}
  labels:
    app.kubernetes.io/name: {APP}
    {REGION_LABEL}: {region.name}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {service_name(region, split=True)}
  minReplicas: 2
  maxReplicas: 10
  metrics:
    - type: Resource
      resource:
        name: cpu
        target:
          type: Utilization
          averageUtilization: 70
"""
        for region in regions
    )


_GATEWAY_COMPONENT = """\
# One entry that routes by region (Gateway API). Set the class and the two host names in an overlay.
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
resources:
  - gateway.yaml
  - httproute.yaml
  - grpcroute.yaml
"""

_GATEWAY = f"""\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  name: {APP}
  labels:
    app.kubernetes.io/name: {APP}
spec:
  gatewayClassName: example
  listeners:
    - name: http
      port: 80
      protocol: HTTP
      allowedRoutes:
        namespaces:
          from: Same
"""


def _route(kind: str, host: str, rules: str) -> str:
    return f"""\
{HEADER}apiVersion: gateway.networking.k8s.io/v1
kind: {kind}
metadata:
  name: {APP}
  labels:
    app.kubernetes.io/name: {APP}
spec:
  parentRefs:
    - name: {APP}
  hostnames:
    - {host}
  rules:
{rules}"""


def _http_route(regions: Sequence[Region], *, split: bool) -> str:
    rules = "".join(
        f"""\
    - matches:
        - path:
            type: PathPrefix
            value: /{region.name}
      filters:
        - type: URLRewrite
          urlRewrite:
            path:
              type: ReplacePrefixMatch
              replacePrefixMatch: /
      backendRefs:
        - name: {service_name(region, split=split)}
          port: {region.port}
"""
        for region in regions
    )
    return _route("HTTPRoute", "finfocus.example.com", rules)


def _grpc_route(regions: Sequence[Region], *, split: bool) -> str:
    rules = "".join(
        f"""\
    - matches:
        - headers:
            - name: {REGION_HEADER}
              value: {region.name}
      backendRefs:
        - name: {service_name(region, split=split)}
          port: {region.port}
"""
        for region in regions
    )
    return _route("GRPCRoute", "grpc.finfocus.example.com", rules)
