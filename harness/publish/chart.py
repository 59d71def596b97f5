"""Publish the Helm chart of a release beside its image, as an OCI artifact.

Media types: https://helm.sh/docs/topics/registries/. The chart is made from `deploy/chart` with the
release's version, regions and image digests; equal inputs give equal bytes.
"""

import gzip
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.core.console import say, step
from harness.core.errors import UsageError
from harness.core.regions import Region, load_regions, regions_in_image
from harness.core.temporary import temporary_directory
from harness.kubernetes.chart import IGNORED, write_chart
from harness.kubernetes.names import APP
from harness.oci import Descriptor, MediaType, canonical_json
from harness.publish.attest import ATTESTATIONS, sign_and_attach
from harness.publish.plan import Plan
from harness.publish.record import Record
from harness.publish.sign import Signer
from harness.publish.statements import signature_of
from harness.publish.tags import check_version_tag, released
from harness.registry import RegistryClient, Repository

CONFIG = "application/vnd.cncf.helm.config.v1+json"
CONTENT = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
_REPOSITORY_LINE = f"  repository: ghcr.io/rshade/{APP}\n"


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A packaged chart, ready to be pushed."""

    repository: Repository
    version: str  # "0.1.6", "0.1.6+r1"
    config: bytes  # Chart.yaml as JSON
    content: bytes  # the archive

    @property
    def manifest(self) -> bytes:
        """https://github.com/opencontainers/image-spec/blob/v1.1.0/manifest.md."""
        about = json.loads(self.config)
        return canonical_json(
            {
                "schemaVersion": 2,
                "mediaType": MediaType.MANIFEST,
                "config": Descriptor.of(self.config, CONFIG).to_json_dict(),
                "layers": [Descriptor.of(self.content, CONTENT).to_json_dict()],
                "annotations": {
                    "org.opencontainers.image.title": about["name"],
                    "org.opencontainers.image.description": about["description"],
                    "org.opencontainers.image.version": self.version,
                    "org.opencontainers.image.url": about["home"],
                    "org.opencontainers.image.source": about["sources"][0],
                },
            }
        )

    @property
    def title(self) -> str:
        """The chart's name, and that of a release in examples."""
        return APP

    @property
    def tag(self) -> str:
        """The version as a tag, in which Helm writes "_" for "+"."""
        return self.version.replace("+", "_")

    @property
    def digest(self) -> str:
        """The digest of the manifest."""
        return Descriptor.of(self.manifest, MediaType.MANIFEST).digest

    @property
    def name(self) -> str:
        """The reference to pull by digest."""
        return self.repository.at(self.digest)

    def __str__(self) -> str:
        return f"{self.digest}  oci://{self.repository} {self.version}"


@dataclass(frozen=True, kw_only=True)
class PublishedChart:
    """A chart in the registry, read back and tagged."""

    chart: Chart
    signature: str  # for people
    verification: tuple[tuple[str, ...], ...] = ()  # the command that verifies it


def chart_repository(images: Repository) -> Repository:
    """Return the repository of charts beside the repository `images`.

    `helm push` requires the chart's name as the last part.
    """
    owner = images.name.rpartition("/")[0]
    name = "/".join(part for part in (owner, "charts", APP) if part)
    return Repository(host=images.host, name=name, scheme=images.scheme)


def make_chart(plan: Plan) -> Chart:
    """Package the chart for the images of `plan`, with the digest of each region's own image."""
    regions = regions_in_image(plan.images[0].image.labels, load_regions())
    regional = {made.region: made.index.digest for made in plan.regional}
    digests = {"all": plan.index.digest, **regional}
    with temporary_directory("chart") as directory:
        config = fill_chart(directory / APP, plan.tag, plan.repository, digests, regions)
        content = pack(directory / APP)
    return Chart(
        repository=chart_repository(plan.repository),
        version=config["version"],
        config=canonical_json(config),
        content=content,
    )


def chart_version(tag: str) -> str:
    """Return the chart's version for an image's tag: "0.1.6" for v0.1.6, "0.1.6+r1" for v0.1.6-r1.

    A hyphen would make a revision a prerelease, which Helm does not install by default.
    """
    image = released(tag)
    if image is None:
        raise UsageError(f"{tag!r} is not the tag of a release, such as v0.1.6")
    return f"{image.version}" + (f"+r{image.revision}" if image.revision else "")


def fill_chart(
    directory: Path,
    tag: str,
    repository: Repository,
    digests: Mapping[str, str],
    regions: Sequence[Region],
) -> dict[str, Any]:
    """Write the chart of one release into the new `directory`; return its `Chart.yaml`.

    `digests` has the image of all regions as "all", and those of single regions by name.
    """
    write_chart(directory, regions)
    about = directory / "Chart.yaml"
    config: dict[str, Any] = yaml.safe_load(about.read_text(encoding="utf-8"))
    config |= {"version": chart_version(tag), "appVersion": tag}
    about.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    values = directory / "values.yaml"
    text = values.read_text(encoding="utf-8")
    if _REPOSITORY_LINE not in text:
        raise UsageError(f"{values} has no line {_REPOSITORY_LINE.strip()!r}: restore it")
    ours = f"  repository: {repository}\n"
    values.write_text(text.replace(_REPOSITORY_LINE, ours), encoding="utf-8")
    release = {"tag": tag, "digests": dict(digests)}
    (directory / "files" / "release.yaml").write_text(yaml.safe_dump(release), encoding="utf-8")
    return config


def pack(chart: Path) -> bytes:
    """Return the archive of the directory `chart`, without times and owners."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(path for path in chart.rglob("*") if path.is_file()):
            inside = path.relative_to(chart)
            if inside.parts[0] in IGNORED:
                continue
            entry = tarfile.TarInfo(f"{chart.name}/{inside.as_posix()}")
            entry.size, entry.mode = path.stat().st_size, 0o644
            with path.open("rb") as file:
                archive.addfile(entry, file)
    return gzip.compress(plain.getvalue(), mtime=0)


def publish_chart(
    chart: Chart,
    client: RegistryClient,
    *,
    record: Record,
    signer: Signer,
    ca: Path | None = None,
) -> PublishedChart:
    """Push `chart`, read it back, sign it, and set the tag of its version last.

    Raises `TagConflictError` if that version has different content, and `RegistryError`.
    """
    before = check_version_tag(chart.tag, chart.digest, client.tag_digest)
    with temporary_directory("chart") as directory, step(f"pushing the chart {chart.version}"):
        for data, kind in ((chart.config, CONFIG), (chart.content, CONTENT)):
            path = directory / "blob"
            path.write_bytes(data)
            descriptor = Descriptor.of(data, kind)
            client.push_blob(descriptor, path)
            client.check_blob(descriptor)
        client.push_manifest(chart.manifest, MediaType.MANIFEST)
        client.settle(chart.digest, chart.digest)
    described = Descriptor.of(chart.manifest, MediaType.MANIFEST)
    statement = signature_of("signature-chart", described, chart.repository)
    place = record.path.parent / ATTESTATIONS
    sign_and_attach([statement], client, signer, place, ca=ca, resumed=record.resumed)
    record.done("chart signed" if signer.how else "chart not signed", chart.digest)
    client.push_manifest(chart.manifest, MediaType.MANIFEST, chart.tag)
    client.settle(chart.tag, chart.digest, before=before)
    record.done(f"chart {chart.version}", chart.digest)
    say(f"  oci://{chart.repository}:{chart.tag} → {chart.digest}")
    verification = tuple(tuple(command) for command in signer.commands(chart.name, ca)[:1])
    return PublishedChart(chart=chart, signature=signer.summary, verification=verification)
