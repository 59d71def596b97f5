"""Fabricated scanned and sealed images, for tests of later stages."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from harness.core.proof import Check, Environment, ImageFacts, Proof, StandIn, Status
from harness.core.regions import Region, load_regions
from harness.core.settings import default_base
from harness.core.stages import Architecture, Asset, BaseImage, BuiltImage, Release, VerifiedImage
from harness.oci import ImageLayout
from harness.publish.plan import Plan, TagPolicy
from harness.publish.push import PublishedImage, publish
from harness.publish.record import Record
from harness.publish.seal import SealedImage, seal
from harness.publish.sign import Signer
from harness.registry import (
    Credentials,
    RegistryClient,
    Repository,
    RetryPolicy,
    Secret,
    Transport,
)
from harness.scan import ScannedImage
from tests.unit.scan_reports import sbom, scan_report

from .fake_cosign import signer_of
from .fake_registry import PASSWORD, USER, FakeRegistry
from .saved import layers, saved

VERSION = "v1.2.3"
BASE = default_base()
REGIONS = load_regions()[:2]  # the fewest with a moment between two regions
QUICK = RetryPolicy(attempts=4, pause=0.001, longest_pause=2, reads=4)
UNSIGNED = Signer(how="", why_not="a test")
SIGNED = False
"""Whether a publication is signed if its test does not say; it doubles the time."""
HELD = Credentials(username=USER, secret=Secret(PASSWORD), source="test")


class FakeDocker:
    """The two docker-py calls that an export makes."""

    def __init__(self, data: bytes) -> None:
        self.images = SimpleNamespace(get=lambda _: SimpleNamespace(attrs={"Size": len(data)}))
        self.api = SimpleNamespace(
            get_image=lambda _: iter([data[i : i + 4000] for i in range(0, len(data), 4000)])
        )


def proof_of(image_id: str, *, status: Status = Status.PASSED) -> Proof:
    """Return a proof with one check."""
    now = datetime(2026, 1, 2, tzinfo=UTC)
    return Proof(
        started_at=now,
        finished_at=now,
        image=ImageFacts(reference="test", image_id=image_id),
        version=VERSION,
        architecture="amd64",
        environment=Environment(
            engine_name="docker",
            engine_version="1",
            engine_api_version="1",
            storage_driver="x",
            kernel="x",
            cpus=1,
            memory_bytes=1,
            python="3",
            harness_version="0",
            host_os="x",
        ),
        checks=(Check(requirement="SC-002", title="ready", status=status, detail="told"),),
    )


def proven(image: ImageLayout, region: Region) -> Proof:
    """Stand in for the proof of a region's image."""
    return proof_of(image.config.digest)


def scanned(
    directory: Path,
    architecture: Architecture = Architecture.AMD64,
    *,
    version: str = VERSION,
    seed: int = 1,
    revision: str = "abc",
    stand_ins: bool = False,
    base_digest: str = "",
    checksums: str = "b" * 64,
) -> tuple[Any, ScannedImage]:
    """Return an engine client and a scanned image in it."""
    names = [region.name for region in REGIONS]
    image_id, data = saved(
        layers(names, seed=seed + 1000 * (architecture is Architecture.ARM64)),
        architecture,
        org_opencontainers_image_version=version,
        org_opencontainers_image_revision=revision,
        org_opencontainers_image_title="finfocus",
        com_finfocus_image_regions=",".join(names),
    )
    stand_in = StandIn(kind="plugin", replaces="the real one", why="test") if stand_ins else None
    built = BuiltImage(
        reference="test",
        image_id=image_id,
        version=version,
        architecture=architecture,
        base=BaseImage(reference=BASE, image_id="sha256:1", digest=base_digest, size_bytes=1),
        release=Release(
            version=version,
            architecture=architecture,
            base_url="https://example.invalid",
            assets=tuple(
                Asset(region=r, name=r.name, sha256="a" * 64, size_bytes=1) for r in REGIONS
            ),
            checksums_sha256=checksums,
            stand_in=stand_in,
        ),
        seconds=1,
        layers=(),
        size_bytes=len(data),
    )
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("trivy.json", "trivy.sarif"):
        (directory / name).write_text(f'{{"{name}": "{architecture}"}}', encoding="utf-8")
    directory.joinpath("sbom.cdx.json").write_text(json.dumps(sbom(*names)), encoding="utf-8")
    report = scan_report(
        image_id=image_id,
        trivy_json=directory / "trivy.json",
        sarif=directory / "trivy.sarif",
        sbom=directory / "sbom.cdx.json",
    )
    verified = VerifiedImage(built=built, proof=proof_of(image_id))
    return FakeDocker(data), ScannedImage(verified=verified, report=report)


def sealed(
    root: Path, architecture: Architecture = Architecture.AMD64, **options: Any
) -> SealedImage:
    """Return a sealed image under `root`."""
    client, made = scanned(root / f"scan-{architecture}", architecture, **options)
    return seal(client, made, root / f"sealed-{architecture}", proven)


def both(root: Path, **options: Any) -> list[SealedImage]:
    """Return a sealed image for each architecture."""
    return [sealed(root, architecture, **options) for architecture in Architecture]


def is_of_region(tag: str) -> bool:
    """Return whether `tag` is of the image of a region."""
    return tag.endswith(tuple(f"-{region.name}" for region in load_regions()))


def client_of(registry: FakeRegistry) -> RegistryClient:
    """Return a client of the fake registry that gives up quickly."""
    repository = Repository.from_names(registry.url, "owner/image")
    return RegistryClient(Transport(repository, HELD, policy=QUICK))


def publish_to(
    registry: FakeRegistry,
    images: list[SealedImage],
    output: Path,
    *,
    version: str = VERSION,
    resume: bool = False,
    policy: TagPolicy | None = None,
    trial: Any = None,
    signer: Signer | None = None,
) -> PublishedImage:
    """Publish to the fake registry, with a record in `output`."""
    with client_of(registry) as client:
        target = str(client.repository)
        record = (
            Record.load(output, version, target)
            if resume
            else Record.new(output, version, target, ())
        )
        return publish(
            images,
            version,
            client,
            record=record,
            policy=policy or TagPolicy(),
            signer=signer or (signer_of(registry) if SIGNED else UNSIGNED),
            trial=trial or _no_trial,
        )


def _no_trial(_: Plan) -> str:
    return "not run"


def refuted(made: ScannedImage) -> ScannedImage:
    """Return the same image with a failed check."""
    proof = proof_of(made.verified.built.image_id, status=Status.FAILED)
    return replace(made, verified=replace(made.verified, proof=proof))
