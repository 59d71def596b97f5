"""The Helm chart of a release: its content, and its way into the registry."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from harness.core.errors import RegistryError, TagConflictError
from harness.kubernetes.names import APP
from harness.oci import Descriptor, MediaType
from harness.publish.chart import (
    CONFIG,
    CONTENT,
    Chart,
    PublishedChart,
    chart_repository,
    make_chart,
    publish_chart,
)
from harness.publish.page import render_page
from harness.publish.plan import RegionalPlan, TagPolicy, make_plan
from harness.publish.push import PublishedImage
from harness.publish.record import Record
from harness.publish.results import to_json_dict
from harness.publish.sign import Signer
from harness.publish.tags import TagMove, TagPlan
from harness.registry import RegistryClient, Repository, Transport

from .fake_cosign import signer_of
from .fake_registry import FakeRegistry, Fault, fake_registry
from .made import HELD, QUICK, REGIONS, VERSION, both, client_of, publish_to

OTHER = f"sha256:{'1' * 64}"


@pytest.fixture
def published(tmp_path: Path) -> PublishedImage:
    """A release's images, published."""
    with fake_registry() as registry:
        return publish_to(registry, both(tmp_path), tmp_path / "out")


def with_regional(published: PublishedImage) -> PublishedImage:
    """Return the release with an image of one region."""
    index = Descriptor(media_type=MediaType.INDEX, digest=OTHER, size=1)
    made = RegionalPlan(region="us-east-1", images=(), index=index, index_data=b"")
    return replace(published, plan=replace(published.plan, regional=(made,)))


def files_of(chart: Chart) -> dict[str, str]:
    with tarfile.open(fileobj=io.BytesIO(chart.content)) as archive:
        return {
            member.name: (archive.extractfile(member) or io.BytesIO()).read().decode()
            for member in archive.getmembers()
        }


def test_the_chart_names_the_release_and_its_digests(published: PublishedImage) -> None:
    """FR-011: the version without v, and the digests of the index and of each region's image."""
    plan = with_regional(published).plan
    files = files_of(make_chart(plan))
    about = yaml.safe_load(files[f"{APP}/Chart.yaml"])
    assert (about["version"], about["appVersion"]) == ("1.2.3", VERSION)
    release = yaml.safe_load(files[f"{APP}/files/release.yaml"])
    assert release == {"tag": VERSION, "digests": {"all": plan.index.digest, "us-east-1": OTHER}}
    values = yaml.safe_load(files[f"{APP}/values.yaml"])
    assert values["image"]["repository"] == str(plan.repository)
    assert values["regions"] == [region.name for region in REGIONS], "those of the image"
    assert not [name for name in files if "/ci/" in name]


def test_the_manifest_has_the_media_types_of_helm(published: PublishedImage) -> None:
    """https://helm.sh/docs/topics/registries/: a config, and one layer with the archive."""
    chart = make_chart(published.plan)
    manifest = json.loads(chart.manifest)
    assert manifest["config"]["mediaType"] == CONFIG
    assert [layer["mediaType"] for layer in manifest["layers"]] == [CONTENT]
    assert json.loads(chart.config)["name"] == APP


def test_the_same_release_makes_the_same_chart(published: PublishedImage) -> None:
    """A resumed release pushes nothing new."""
    assert make_chart(published.plan) == make_chart(published.plan)


def test_a_revision_is_a_version_of_its_own(published: PublishedImage) -> None:
    """v1.2.3-r1 is the chart 1.2.3+r1, which Helm writes as the tag 1.2.3_r1."""
    moves = (TagMove(tag=f"{VERSION}-r1", before=None),)
    chart = make_chart(replace(published.plan, tags=TagPlan(moves=moves)))
    assert (chart.version, chart.tag) == ("1.2.3+r1", "1.2.3_r1")
    files = files_of(chart)
    assert yaml.safe_load(files[f"{APP}/files/release.yaml"])["tag"] == f"{VERSION}-r1"


@pytest.mark.parametrize(
    ("images", "charts"),
    [("owner/image", f"owner/charts/{APP}"), ("image", f"charts/{APP}")],
)
def test_the_chart_is_beside_the_image(images: str, charts: str) -> None:
    """In the owner's `charts`, with the name that `helm push` would use."""
    repository = Repository.from_names("ghcr.io", images)
    assert str(chart_repository(repository)) == f"ghcr.io/{charts}"


def push(
    registry: FakeRegistry, chart: Chart, output: Path, signer: Signer | None = None
) -> PublishedChart:
    name = chart.repository.name
    chart = replace(chart, repository=Repository.from_names(registry.url, name))
    transport = Transport(chart.repository, HELD, policy=QUICK)
    with RegistryClient(transport) as client:
        record = Record.new(output, VERSION, str(chart.repository), ())
        made = signer or Signer(how="", why_not="a test")
        return publish_chart(chart, client, record=record, signer=made)


def test_the_tag_comes_last(published: PublishedImage, tmp_path: Path) -> None:
    """Blobs, then the manifest, then the version's tag; nothing arrives before its parts."""
    chart = make_chart(published.plan)
    with fake_registry() as registry:
        push(registry, chart, tmp_path)
        assert registry.tags == {"1.2.3": chart.digest}
        assert registry.half == []
        puts = [line for line in registry.log if line.startswith("PUT") and "manifests" in line]
        assert [line.rpartition("/")[2] for line in puts] == [chart.digest, "1.2.3"]
        assert all(f"/charts/{APP}/" in line for line in puts)


def test_a_published_version_never_changes(published: PublishedImage, tmp_path: Path) -> None:
    """The same version with other content is refused before anything is pushed."""
    chart = make_chart(published.plan)
    with fake_registry() as registry:
        push(registry, chart, tmp_path / "first")
        other = make_chart(with_regional(published).plan)
        with pytest.raises(TagConflictError, match=r"1\.2\.3 is already published"):
            push(registry, other, tmp_path / "second")
        assert registry.tags == {"1.2.3": chart.digest}
        push(registry, chart, tmp_path / "third")


def test_a_chart_that_cannot_be_signed_gets_no_tag(
    published: PublishedImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signature precedes the tag."""

    def fail(*_: object, **__: object) -> str:
        raise RegistryError("no signature")

    monkeypatch.setattr(Signer, "sign", fail)
    with fake_registry() as registry, pytest.raises(RegistryError, match="no signature"):
        push(registry, make_chart(published.plan), tmp_path, signer_of(registry))
    assert registry.tags == {}


def test_a_chart_that_reads_back_wrong_gets_no_tag(
    published: PublishedImage, tmp_path: Path
) -> None:
    """Each blob is read again after the push."""
    with fake_registry() as registry:
        registry.faults.append(Fault(match="GET .*/blobs/", corrupt=True, times=9))
        with pytest.raises(RegistryError):
            push(registry, make_chart(published.plan), tmp_path)
    assert registry.tags == {}


def test_page_and_record_name_the_chart(published: PublishedImage) -> None:
    """The page has the command that installs it; `published.json` has its digest."""
    chart = make_chart(published.plan)
    made = replace(published, chart=PublishedChart(chart=chart, signature="signed with a key"))
    page = render_page(made, None)
    assert f"$ helm install {APP} oci://{chart.repository} --version 1.2.3" in page
    assert chart.name in page
    assert to_json_dict(made)["chart"]["manifest"] == chart.digest


def test_a_plan_needs_no_registry_for_its_chart(tmp_path: Path) -> None:
    """A dry run names the chart's digest, and pushes nothing."""
    with fake_registry() as registry:
        plan = make_plan(both(tmp_path), VERSION, client_of(registry), TagPolicy())
        assert make_chart(plan).digest in str(make_chart(plan))
        assert not [line for line in registry.log if line.startswith("PUT")]
