"""Publish sealed images: content first, tags last.

The order makes a failed release harmless: blobs, manifests by digest, the index by digest,
attachments, read-back, trial, signature, the version's tag, `latest`. Until the tags move, none of
it can be pulled by tag.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.core.console import say, step
from harness.core.errors import EnvironmentMissingError
from harness.core.transfer import transfer
from harness.oci import Descriptor, MediaType
from harness.publish.chart import PublishedChart
from harness.publish.plan import Plan, RegionalPlan, TagPolicy, make_plan, plan_moves
from harness.publish.record import Record
from harness.publish.seal import SealedImage
from harness.publish.sign import Signer
from harness.publish.tags import TagMove, TagPlan, plan_of_region
from harness.registry import RegistryClient, attach, referrers
from harness.registry.referrers import EMPTY
from harness.registry.transport import MayPassError

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
        _attach(plan, client)
        _read_back(plan, client)
        record.done("read back", plan.index.digest)
        shown = trial(plan)
        signed = record.steps.get("signed") == plan.index.digest
        for digest in (plan.index.digest, *(made.index.digest for made in plan.regional)):
            name, held = plan.repository.at(digest), client.transport.auth.credentials
            signature = signer.sign(name, held, ca, signed=signed)
        record.done("signed" if signer.how else "not signed", plan.index.digest)
        tags = _move_tags(plan, client, record, policy)
    return PublishedImage(
        plan=plan, tags=tags, signature=signature, trial=shown, identity=signer.identity
    )


def _push_images(plan: Plan, client: RegistryClient, record: Record) -> None:
    for image in plan.images:
        layout = image.image
        blobs = layout.blobs
        title = f"pushing {layout.platform}"
        with transfer(title, sum(blob.size for blob in blobs)) as progress:
            for blob in blobs:
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


def _attach(plan: Plan, client: RegistryClient) -> None:
    with step("attaching SBOM, provenance and proof"), TemporaryDirectory() as directory:
        empty = Path(directory) / "empty"
        empty.write_bytes(EMPTY)
        for artifact in plan.artifacts:
            attach(client, artifact, empty)


def _read_back(plan: Plan, client: RegistryClient) -> None:
    """Check that everything pushed can be read back, byte for byte."""
    blobs = {blob.digest: blob for image in plan.images for blob in image.image.blobs}
    configs = [image.config for made in plan.regional for image in made.images]
    blobs |= {config.digest: config for config in configs}
    blobs |= {artifact.content.digest: artifact.content for artifact in plan.artifacts}
    with transfer("reading it back", sum(blob.size for blob in blobs.values())) as progress:
        for blob in blobs.values():
            client.check_blob(blob, on_bytes=progress)
    manifests = [image.image.manifest for image in plan.images]
    for made in plan.regional:
        manifests += [*(image.manifest for image in made.images), made.index]
    manifests += [plan.index, *(artifact.descriptor for artifact in plan.artifacts)]
    for manifest in manifests:
        client.settle(manifest.digest, manifest.digest)
    for image in plan.images:
        _check_attached(plan, image.image.manifest, client)


def _check_attached(plan: Plan, subject: Descriptor, client: RegistryClient) -> None:
    wanted = {a.descriptor.digest for a in plan.artifacts if a.subject.digest == subject.digest}
    for attempt in client.transport.retrying():
        with attempt:
            listed = {entry.digest for entry in referrers(client, subject.digest)}
            if missing := wanted - listed:
                raise MayPassError(
                    f"{client.repository} does not list {len(missing)} of {len(wanted)} artifacts"
                    f" attached to {subject.digest}"
                )


def _move_tags(
    plan: Plan, client: RegistryClient, record: Record, policy: TagPolicy
) -> tuple[str, ...]:
    """Set each tag and read it back; the version's tag first, so that `latest` follows it.

    Each is preceded by the same tag of every region's image: who sees a version can pull its
    regions. The tags are planned again before the first move, and before the moving tags: this
    version or a newer one may have been published since the last plan.
    """
    first = plan_moves(plan.version, plan.index.digest, client, policy)
    _move(plan, first, slice(0, 1), client, record)
    again = plan_moves(plan.version, plan.index.digest, client, policy)
    _move(plan, again, slice(1, None), client, record)
    for tag, why in again.stays:
        say(f"  tag {tag} unchanged: {why}")
    return tuple(move.tag for move in again.moves)


def _move(plan: Plan, tags: TagPlan, which: slice, client: RegistryClient, record: Record) -> None:
    """Set the moves `which` of `tags`; first check the tags of all regions."""
    regional = [
        (made, plan_of_region(made.region, tags, made.index.digest, client.tag_digest).moves[which])
        for made in plan.regional
    ]
    with step("tagging the images of single regions"):
        for made, moves in regional:
            for move in moves:
                _set(made, move, client)
    for move in tags.moves[which]:
        _set(plan, move, client)
        record.done(f"tag {move.tag}", plan.index.digest)
        say(f"  {plan.repository.at(move.tag)} → {plan.index.digest}")


def _set(made: Plan | RegionalPlan, move: TagMove, client: RegistryClient) -> None:
    client.push_manifest(made.index_data, MediaType.INDEX, move.tag)
    client.settle(move.tag, made.index.digest, before=move.before)


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
