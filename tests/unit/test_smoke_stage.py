"""The stage of the smoke test, with a cluster that accepts everything."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest

from harness.core.recorder import Recorder
from harness.core.regions import Region, load_regions
from harness.kubernetes.clusters import Cluster
from harness.kubernetes.helm import Helm
from harness.kubernetes.kubectl import Kubectl
from harness.kubernetes.stage import ALL, PER_REGION, Installation, open_stage


class Yes:
    """A kubectl whose cluster is empty and accepts everything."""

    namespace = "test"
    options = ("--context=mine",)

    def within(self, namespace: str) -> Yes:
        return self

    def items(self, *_: str) -> list[dict[str, Any]]:
        return []

    def apply(self, *_: Any) -> str:
        return ""

    def run(self, *_: str, **__: float) -> str:
        return ""


class Recorded(Helm):
    """A Helm that records its calls."""

    calls: ClassVar[list[Sequence[str]]] = []

    def run(self, *arguments: str, timeout: float = 120) -> str:
        self.calls.append(arguments)
        return ""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """The calls of Helm."""
    monkeypatch.setattr(Recorded, "calls", [])
    monkeypatch.setattr("harness.kubernetes.stage.find_helm", lambda: Recorded(path=Path("helm")))
    return Recorded.calls


@pytest.mark.parametrize(
    "regions",
    [
        pytest.param(load_regions(), id="all"),
        pytest.param(
            tuple(r for r in load_regions() if "gov" not in r.name), id="FR-018-without-two"
        ),
    ],
)
@pytest.mark.parametrize("layout", [ALL, PER_REGION])
@pytest.mark.usefixtures("calls")
def test_values_match_the_image(regions: tuple[Region, ...], layout: str) -> None:
    """The chart is installed for the regions that the image has, with that image."""
    cluster = Cluster(kubectl=cast("Kubectl", Yes()), load=None, own=True)
    with open_stage(cluster, "host:5000/image:tag", regions, Recorder()) as stage:
        values = json.loads(stage.values(layout).read_text(encoding="utf-8"))
    assert values["layout"] == layout
    assert values["regions"] == [region.name for region in regions]
    assert values["image"] == {
        "repository": "host:5000/image",
        "tag": "tag",
        "perRegion": False,
    }


@pytest.mark.parametrize("regional", [True, False])
@pytest.mark.usefixtures("calls")
def test_regions_run_their_own_images_where_the_nodes_have_them(*, regional: bool) -> None:
    """Both for the release under test and for the one that an upgrade starts from."""
    cluster = Cluster(kubectl=cast("Kubectl", Yes()), load=None, own=True)
    earlier = Installation(image="image:old")
    opened = open_stage(
        cluster, "image:new", load_regions(), Recorder(), previous=earlier, regional=regional
    )
    with opened as stage:
        for image, tag in (("", "new"), (stage.previous.image, "old")):
            values = json.loads(stage.values(PER_REGION, image=image).read_text(encoding="utf-8"))
            assert values["image"] == {"repository": "image", "tag": tag, "perRegion": regional}


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.usefixtures("calls")
def test_only_a_cluster_made_for_the_run_reserves_little(own: bool) -> None:
    """A user's cluster gets the requests of the chart."""
    cluster = Cluster(kubectl=cast("Kubectl", Yes()), load=None, own=own)
    with open_stage(cluster, f"image@sha256:{'0' * 64}", load_regions(), Recorder()) as stage:
        values = json.loads(stage.values(ALL).read_text(encoding="utf-8"))
    assert ("resources" in values) is own
    assert values["image"]["digest"] == f"sha256:{'0' * 64}"


def test_helm_talks_to_the_cluster_of_kubectl(calls: list[Sequence[str]]) -> None:
    """Helm gets the context and the namespace under its own option names."""
    cluster = Cluster(kubectl=cast("Kubectl", Yes()), load=None, own=True)
    with open_stage(cluster, "image:tag", load_regions(), Recorder()) as stage:
        stage.install(ALL)
    (call,) = calls
    assert {"--kube-context=mine", "--namespace=test"} <= set(call)
