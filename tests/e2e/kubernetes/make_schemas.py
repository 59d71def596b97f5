"""Generate `schemas/` for the custom resources in the chart from the defining Go modules.

Run `python -m tests.e2e.kubernetes.make_schemas` after changing a version below. The schemas reject
unknown fields and have no descriptions, to save space. Those of Kubernetes itself are in the
package kubernetes-validate.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from harness.core.go_tools import module_directory

OPERATOR = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
GATEWAY = "sigs.k8s.io/gateway-api@v1.3.0"

_SCHEMAS = Path(__file__).parent / "schemas"
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


def _write(kind: str, group: str, version: str, schema: Mapping[str, Any]) -> None:
    name = "-".join(part for part in (kind.lower(), group.partition(".")[0], version) if part)
    path = _SCHEMAS / f"{name}.json"
    text = json.dumps(schema, separators=(",", ":"), sort_keys=True)
    path.write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Write every schema."""
    _SCHEMAS.mkdir(exist_ok=True)
    for module, files in CRDS.items():
        for file in files:
            text = (module_directory(module) / file).read_text(encoding="utf-8")
            spec = yaml.safe_load(text)["spec"]
            for version in spec["versions"]:
                schema = _strict(version["schema"]["openAPIV3Schema"])
                _write(spec["names"]["kind"], spec["group"], version["name"], schema)


if __name__ == "__main__":
    main()
