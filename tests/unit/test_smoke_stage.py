"""The stage of the smoke test, with a cluster that accepts everything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from harness.core.recorder import Recorder
from harness.core.regions import Region, load_regions
from harness.kubernetes.clusters import Cluster
from harness.kubernetes.deploy import DEPLOY
from harness.kubernetes.kubectl import Kubectl
from harness.kubernetes.stage import open_stage


class Yes:
    """A kubectl whose cluster is empty and accepts everything."""

    namespace = "test"

    def within(self, namespace: str) -> Yes:
        return self

    def items(self, *_: str) -> list[dict[str, Any]]:
        return []

    def apply(self, *_: Any) -> str:
        return ""

    def run(self, *_: str, **__: float) -> str:
        return ""


@pytest.mark.parametrize(
    "regions",
    [
        pytest.param(load_regions(), id="all"),
        pytest.param(
            tuple(r for r in load_regions() if "gov" not in r.name), id="FR-018-without-two"
        ),
    ],
)
def test_manifests_that_are_applied_match_the_image(regions: tuple[Region, ...]) -> None:
    """An image with all regions gets the shipped manifests; others get generated ones."""
    cluster = Cluster(kubectl=cast("Kubectl", Yes()), load=None, own=True)
    with open_stage(cluster, "image:tag", regions, Recorder()) as stage:
        directory = stage.overlay("base")
        text = (directory / "kustomization.yaml").read_text(encoding="utf-8")
        (resource,) = json.loads(text)["resources"]
        base = (Path(directory).resolve() / resource).resolve()
        service = (base / "service.yaml").read_text(encoding="utf-8")
    assert (base == DEPLOY / "base") is (regions == load_regions())
    assert [r.name for r in load_regions() if f"targetPort: {r.name}\n" in service] == [
        region.name for region in regions
    ]
