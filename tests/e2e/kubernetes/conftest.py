"""Tools and manifests for the Kubernetes tests."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.core.cache import cache_directory
from harness.core.errors import EnvironmentMissingError
from harness.core.process import run
from harness.kubernetes.chart import CHART
from harness.kubernetes.helm import Helm, find_helm
from harness.kubernetes.names import APP

HERE = Path(__file__).parent
RENDERED = HERE / "rendered"
LAYOUTS = {"together": "all", "split": "per-region"}
"""The fixtures of rendered manifests, and the name of each one's values and rendered file."""
# Rules and dashboard are files of the chart with tests of their own.
RENDER = (
    "--set=monitoring.rules.enabled=false,monitoring.dashboard.enabled=false",
    "--kube-version=1.31.0",
)
Objects = list[dict[str, Any]]
_PROGRAMS = ("./podsecurity", "github.com/yannh/kubeconform/cmd/kubeconform")
_SINCE = (1, 31)  # the oldest Kubernetes that the chart is checked for


@dataclass(frozen=True)
class Tools:
    """kubeconform and the Pod Security Standards evaluator."""

    directory: Path

    def ask(self, name: str, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run a tool with `text` on stdin and return its output."""
        return subprocess.run(
            [str(self.directory / name), *arguments],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


@pytest.fixture(scope="session")
def tools() -> Tools:
    """The tools, compiled unless they are cached."""
    recipe = hashlib.sha256()
    for path in sorted((HERE / "tools").rglob("*.*")):
        recipe.update(path.read_bytes())
    directory = cache_directory() / "kubernetes-tools" / recipe.hexdigest()[:16]
    if not directory.exists():
        building = directory.with_suffix(f".{os.getpid()}")
        building.mkdir(parents=True)
        command = ["go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o"]
        run([*command, f"{building}/", *_PROGRAMS], cwd=HERE / "tools")
        if not directory.exists():
            building.rename(directory)
    return Tools(directory)


@pytest.fixture(scope="session")
def helm() -> Helm:
    """Helm; the tests that need it are skipped where it would have to be compiled."""
    try:
        return find_helm(compile_it=False)
    except EnvironmentMissingError as error:
        pytest.skip(str(error))


def objects_in(text: str) -> Objects:
    """Return the objects of a YAML stream."""
    return [document for document in yaml.safe_load_all(text) if document]


def rendered(helm: Helm, *arguments: str) -> Objects:
    """Return the objects that the chart makes of `helm template`'s arguments."""
    return objects_in(helm.template(CHART, *arguments, name=APP, namespace="finfocus"))


@pytest.fixture(scope="session")
def together() -> Objects:
    """One Deployment of all regions with every feature, as committed."""
    return objects_in((RENDERED / "all.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def split() -> Objects:
    """One Deployment for each of some regions with every feature, as committed."""
    return objects_in((RENDERED / "per-region.yaml").read_text(encoding="utf-8"))


def _package() -> Path:
    return Path(str(files("kubernetes_validate"))) / "kubernetes-json-schema"


def kubernetes_versions() -> list[str]:
    """Return the Kubernetes versions, such as "1.31", whose schemas are installed."""
    names = [path.name for path in _package().iterdir()]
    found = [re.fullmatch(r"v(\d+)\.(\d+)\.0-local-strict", name) for name in names]
    numbers = sorted((int(match[1]), int(match[2])) for match in found if match)
    return [f"{major}.{minor}" for major, minor in numbers if (major, minor) >= _SINCE]


@pytest.fixture(scope="session")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory `VERSION/KIND-GROUP-VERSION.json`: strict schemas, each with its definitions."""
    directory = tmp_path_factory.mktemp("schemas")
    for version in kubernetes_versions():
        source = _package() / f"v{version}.0-local-strict"
        text = (source / "_definitions.json").read_text(encoding="utf-8")
        definitions = json.loads(text)["$defs"]
        (directory / version).mkdir()
        for name in KINDS:
            text = (source / f"{name}.json").read_text(encoding="utf-8")
            schema = json.loads(text.replace("/api/_definitions.json#", "#"))
            schema["$defs"] = dict(_needed(schema, definitions))
            made = json.dumps(schema).replace("/api/_definitions.json#", "#")
            (directory / version / f"{name}.json").write_text(made, encoding="utf-8")
    return directory


KINDS = (
    "configmap-v1",
    "deployment-apps-v1",
    "horizontalpodautoscaler-autoscaling-v2",
    "networkpolicy-networking-v1",
    "pod-v1",
    "poddisruptionbudget-policy-v1",
    "service-v1",
    "serviceaccount-v1",
)
"""The core kinds that the chart makes."""
_REFERENCE = re.compile(r'#/\$defs/([^"]+)"')


def _needed(schema: dict[str, Any], definitions: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the definitions that `schema` refers to, and those that they refer to."""
    seen: set[str] = set()
    wanted = set(_REFERENCE.findall(json.dumps(schema)))
    while wanted:
        name = wanted.pop()
        seen.add(name)
        yield name, definitions[name]
        wanted |= set(_REFERENCE.findall(json.dumps(definitions[name]))) - seen
