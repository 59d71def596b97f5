"""Tools for the Kubernetes tests, compiled from Go modules once per recipe."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.core.cache import cache_directory
from harness.core.process import run
from harness.core.regions import REPOSITORY

HERE = Path(__file__).parent
DEPLOY = REPOSITORY / "deploy"
COMPONENTS = ("namespace", "requests", "monitoring", "gateway")
SPLIT_COMPONENTS = ("namespace", "autoscaling", "monitoring", "gateway-per-region")
_PROGRAMS = (
    "./podsecurity",
    "github.com/yannh/kubeconform/cmd/kubeconform",
    "sigs.k8s.io/kustomize/kustomize/v5",
)


@dataclass(frozen=True)
class Tools:
    """kustomize, kubeconform and the Pod Security Standards evaluator."""

    directory: Path

    def render(self, overlay: Path) -> list[dict[str, Any]]:
        """Return the objects of a kustomize directory."""
        text = run([str(self.directory / "kustomize"), "build", str(overlay)])
        return [document for document in yaml.safe_load_all(text) if document]

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


def compose(directory: Path, resource: str, components: Sequence[str]) -> Path:
    """Write an overlay of one layout and some components to `directory`."""

    def relative(path: str) -> str:
        return os.path.relpath(DEPLOY / path, directory.resolve())

    text = json.dumps(
        {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [relative(resource)],
            "components": [relative(f"components/{name}") for name in components],
        }
    )
    (directory / "kustomization.yaml").write_text(text, encoding="utf-8")
    return directory


@pytest.fixture(scope="session")
def together(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """One Deployment of all regions with every component."""
    return tools.render(compose(tmp_path_factory.mktemp("together"), "base", COMPONENTS))


@pytest.fixture(scope="session")
def split(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """One Deployment per region with every component."""
    directory = tmp_path_factory.mktemp("split")
    return tools.render(compose(directory, "overlays/per-region", SPLIT_COMPONENTS))
