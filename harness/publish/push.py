"""Publish sealed images: content first, tags last.

The order makes a failed release harmless: blobs, manifests by digest, the index by digest,
read-back, trial, signature and attestations, their verification, the version's tag, `latest`. Until
the tags move, none of it can be pulled by tag.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.core.console import step
from harness.core.errors import EnvironmentMissingError
from harness.core.transfer import transfer
from harness.oci import MediaType
from harness.publish.attest import ATTESTATIONS, sign_and_attach
from harness.publish.chart import PublishedChart
from harness.publish.move import move_tags
from harness.publish.plan import Plan, TagPolicy, make_plan
from harness.publish.record import Record
from harness.publish.seal import SealedImage
from harness.publish.sign import Signer
from harness.registry import RegistryClient

Trial = Callable[[Plan], str]
"""Pulls and runs the pushed image before it is tagged; returns a summary for people."""


@dataclass(frozen=True, kw_only=True)
class PublishedImage:
    """A release in the registry, read back and tagged."""

    plan: Plan
    tags: tuple[str, ...]
    signature: str  # for people
    trial: str  # for people
    chart: PublishedChart | None = None  # the Helm chart of these images
    verification: tuple[tuple[str, ...], ...] = ()  # the commands that verify it
    identity: str = ""  # of the signature's certificate; "" for a key


def publish(
    images: Sequence[SealedImage],
    version: str,
    client: RegistryClient,
    *,
    record: Record,
    policy: TagPolicy,
    signer: Signer,
    trial: Trial,
    ca: Path | None = None,
) -> PublishedImage:
    """Publish `images` as one index for `version` to the repository of `client`.

    Raises `RegistryError`, `TagConflictError`, or the errors of `make_plan` and `trial`. On an
    error no tag has moved, unless the registry failed between two tags; `record` has the progress.
    """
    with _disk_errors():
        plan = make_plan(images, version, client, policy)
        record.done("planned", plan.index.digest)
        _push_images(plan, client, record)
        _push_regional(plan, client)
        with step("pushing the indexes"):
            for data in (plan.index_data, *(made.index_data for made in plan.regional)):
                client.push_manifest(data, MediaType.INDEX)
        record.done("index pushed", plan.index.digest)
        _read_back(plan, client)
        record.done("read back", plan.index.digest)
        shown = trial(plan)
        directory = record.path.parent / ATTESTATIONS
        sign_and_attach(plan.statements, client, signer, directory, ca=ca, resumed=record.resumed)
        record.done("signed" if signer.how else "not signed", plan.index.digest)
        tags = move_tags(plan, client, record, policy)
    return PublishedImage(
        plan=plan,
        tags=tags,
        signature=signer.summary,
        trial=shown,
        verification=tuple(tuple(command) for command in signer.commands(plan.name, ca)),
        identity=signer.identity,
    )


def _push_images(plan: Plan, client: RegistryClient, record: Record) -> None:
    for image in plan.images:
        layout = image.image
        title = f"pushing {layout.platform}"
        with transfer(title, layout.size) as progress:
            for blob in layout.blobs:
                path = layout.path(blob)
                if not client.push_blob(blob, path, on_bytes=progress):
                    progress.skip(blob.size)
        client.push_manifest(layout.path(layout.manifest).read_bytes(), MediaType.MANIFEST)
        record.done(f"{image.architecture} pushed", layout.manifest.digest)


def _push_regional(plan: Plan, client: RegistryClient) -> None:
    """Push config and manifest of each region's image; its layers are there already."""
    with step("pushing the images of single regions") as progress:
        for made in plan.regional:
            progress.news(made.region)
            for image in made.images:
                client.push_blob(image.config, image.path(image.config))
                data = image.path(image.manifest).read_bytes()
                client.push_manifest(data, MediaType.MANIFEST)


def _read_back(plan: Plan, client: RegistryClient) -> None:
    """Check that everything pushed can be read back, byte for byte."""
    blobs = {blob.digest: blob for image in plan.images for blob in image.image.blobs}
    configs = [image.config for made in plan.regional for image in made.images]
    blobs |= {config.digest: config for config in configs}
    with transfer("reading it back", sum(blob.size for blob in blobs.values())) as progress:
        for blob in blobs.values():
            client.check_blob(blob, on_bytes=progress)
    manifests = [*(image.image.manifest for image in plan.images), plan.index]
    for made in plan.regional:
        manifests += [*(image.manifest for image in made.images), made.index]
    for manifest in manifests:
        client.settle(manifest.digest, manifest.digest)


@contextmanager
def _disk_errors() -> Iterator[None]:
    """Turn disk errors, while content is read or the record is written, into a harness error."""
    try:
        yield
    except OSError as error:
        raise EnvironmentMissingError(
            f"the release stopped: {error.filename or 'the disk'}: {error.strerror or error};"
            " free disk space and continue with --resume"
        ) from error
