"""Generate `schemas/` for every kind in `deploy/` from the defining Go modules.

Run `python -m tests.e2e.kubernetes.make_schemas` after changing a version below. The schemas reject
unknown fields and have no descriptions, to save space.
"""

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

KUBERNETES = "k8s.io/kubernetes@v1.33.13"
OPERATOR = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
GATEWAY = "sigs.k8s.io/gateway-api@v1.3.0"

_SCHEMAS = Path(__file__).parent / "schemas"
_KINDS = (
    "io.k8s.api.core.v1.Namespace",
    "io.k8s.api.core.v1.ConfigMap",
    "io.k8s.api.core.v1.Service",
    "io.k8s.api.core.v1.ServiceAccount",
    "io.k8s.api.apps.v1.Deployment",
    "io.k8s.api.policy.v1.PodDisruptionBudget",
    "io.k8s.api.networking.v1.NetworkPolicy",
    "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
)
CRDS = {
    OPERATOR: (
        "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
    ),
    GATEWAY: (
        "config/crd/standard/gateway.networking.k8s.io_gateways.yaml",
        "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",
        "config/crd/standard/gateway.networking.k8s.io_grpcroutes.yaml",
    ),
}


def module_directory(module: str) -> Path:
    """Return the Go command's source directory of `module`, such as `k8s.io/api@v0.33.13`."""
    command = ["go", "mod", "download", "-json", module]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return Path(json.loads(text)["Dir"])


def _strict(schema: Any) -> Any:
    """Return `schema` without descriptions, rejecting unknown fields of objects with known ones."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept: dict[str, Any] = {}
    for key, value in schema.items():
        if key in {"properties", "definitions"}:
            kept[key] = {name: _strict(item) for name, item in value.items()}
        elif key not in {"description", "format", "default", "example"} and key[:2] != "x-":
            kept[key] = _strict(value)
    open_object = schema.get("x-kubernetes-preserve-unknown-fields")
    if "properties" in kept and not open_object:
        kept.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string") or schema.get("format") == "int-or-string":
        kept.pop("type", None)
        kept["type"] = ["integer", "string"]
    return kept


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for item in schema:
            yield from _references(item)
    elif isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref":
                yield value.removeprefix("#/definitions/")
            else:
                yield from _references(value)


def _with_definitions(name: str, definitions: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    wanted = [name]
    while wanted:
        current = wanted.pop()
        if current not in found:
            found[current] = _strict(definitions[current])
            wanted.extend(_references(found[current]))
    top: dict[str, Any] = found.pop(name)
    return {**top, "definitions": found}


def _write(kind: str, group: str, version: str, schema: Mapping[str, Any]) -> None:
    name = "-".join(part for part in (kind.lower(), group.partition(".")[0], version) if part)
    path = _SCHEMAS / f"{name}.json"
    text = json.dumps(schema, separators=(",", ":"), sort_keys=True)
    path.write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Write every schema."""
    _SCHEMAS.mkdir(exist_ok=True)
    swagger = module_directory(KUBERNETES) / "api" / "openapi-spec" / "swagger.json"
    definitions = json.loads(swagger.read_text(encoding="utf-8"))["definitions"]
    for name in _KINDS:
        identity = definitions[name]["x-kubernetes-group-version-kind"][0]
        schema = _with_definitions(name, definitions)
        _write(identity["kind"], identity["group"], identity["version"], schema)
    for module, files in CRDS.items():
        for file in files:
            text = (module_directory(module) / file).read_text(encoding="utf-8")
            spec = yaml.safe_load(text)["spec"]
            for version in spec["versions"]:
                schema = _strict(version["schema"]["openAPIV3Schema"])
                _write(spec["names"]["kind"], spec["group"], version["name"], schema)


if __name__ == "__main__":
    main()
