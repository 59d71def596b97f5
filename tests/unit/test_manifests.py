"""The manifests generated from the regions table."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from harness.core.errors import UsageError
from harness.core.regions import Region, load_regions
from harness.kubernetes.deploy import DEPLOY, outdated_manifests, write_manifests
from harness.kubernetes.manifests import HEADER, manifest_files, prometheus_rule

REGIONS = (Region(name="us-east-1", port=8001), Region(name="eu-west-1", port=8003))


@pytest.fixture
def deploy(tmp_path: Path) -> Path:
    """A directory with the rules and no generated files."""
    monitoring = tmp_path / "components" / "monitoring"
    monitoring.mkdir(parents=True)
    rules = DEPLOY / "components" / "monitoring" / "rules.yaml"
    monitoring.joinpath("rules.yaml").write_bytes(rules.read_bytes())
    return tmp_path


def test_a_new_region_gets_files_of_its_own(deploy: Path) -> None:
    """A missing file is reported, written on request, and then up to date."""
    assert (
        len(outdated_manifests(deploy, REGIONS, write=False)) == len(manifest_files(REGIONS)) + 1
    )  # the PrometheusRule
    assert outdated_manifests(deploy, REGIONS, write=True)
    assert outdated_manifests(deploy, REGIONS, write=False) == []
    assert (deploy / "overlays" / "per-region" / "eu-west-1" / "kustomization.yaml").is_file()


def test_a_change_by_hand_is_reported(deploy: Path) -> None:
    """A generated file that was edited is named."""
    outdated_manifests(deploy, REGIONS, write=True)
    edited = deploy / "components" / "gateway" / "grpcroute.yaml"
    edited.write_text(edited.read_text(encoding="utf-8") + "# mine\n", encoding="utf-8")
    assert outdated_manifests(deploy, REGIONS, write=False) == [edited]


def test_a_region_that_is_gone_takes_its_files_along(deploy: Path) -> None:
    """Files of a removed region are reported and deleted; other files stay."""
    outdated_manifests(deploy, REGIONS, write=True)
    own = deploy / "overlays" / "per-region" / "mine.yaml"
    own.write_text("kind: ConfigMap\n", encoding="utf-8")
    gone = deploy / "overlays" / "per-region" / "eu-west-1"
    assert gone / "kustomization.yaml" in outdated_manifests(deploy, REGIONS[:1], write=False)
    outdated_manifests(deploy, REGIONS[:1], write=True)
    assert not gone.exists()
    assert own.exists()


def test_manifests_of_an_image_with_fewer_regions(tmp_path: Path) -> None:
    """All files are written for the remaining regions; a non-empty directory is left alone."""
    few = [region for region in load_regions() if "gov" not in region.name]
    write_manifests(tmp_path / "new", few)
    texts = {
        path.relative_to(tmp_path / "new"): path.read_text(encoding="utf-8")
        for path in (tmp_path / "new").rglob("*.yaml")
    }
    assert Path("base/kustomization.yaml") in texts
    assert all("us-gov" not in text for text in texts.values())
    assert texts[Path("base/service.yaml")].count("appProtocol") == len(few)
    assert outdated_manifests(tmp_path / "new", few, write=False) == []
    with pytest.raises(UsageError, match="is not empty"):
        write_manifests(tmp_path / "new", few)


@pytest.mark.parametrize(
    ("regions", "words"),
    [
        pytest.param((Region(name="us-verylongname-1", port=1),), "too long", id="port-name"),
        pytest.param(
            tuple(Region(name=f"us-east-{n}", port=n + 1) for n in range(17)), "16", id="rules"
        ),
    ],
)
def test_what_kubernetes_refuses_is_refused_here(regions: tuple[Region, ...], words: str) -> None:
    """A region name too long for a port, and too many regions for a route, are usage errors."""
    with pytest.raises(UsageError, match=words):
        manifest_files(regions)


def test_generated_files_say_so() -> None:
    """Every generated manifest starts with a note of its source."""
    assert all(text.startswith(HEADER) for text in manifest_files(REGIONS).values())
    assert prometheus_rule("groups: []").startswith("# generated from rules.yaml")


# Measured with the real plugin and price lists of 140 MB: anonymous memory after start.
MEASURED = {"requests": 6_700_000_000, "autoscaling": 560_000_000}


@pytest.mark.parametrize("component", MEASURED)
def test_memory_requests_cover_a_start(component: str) -> None:
    """A pod requests at least the memory that its regions need to start."""
    text = manifest_files(load_regions())[f"components/{component}/kustomization.yaml"]
    patches = yaml.safe_load(yaml.safe_load(text)["patches"][0]["patch"])
    request = patches[-1]["value"]["requests"]["memory"]
    assert int(request.removesuffix("Mi")) << 20 >= MEASURED[component]
