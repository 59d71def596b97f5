"""Plan what a release pushes to the registry; all digests are known before anything is sent."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from harness.core.errors import NotProvenError, UsageError
from harness.core.labels import STAND_INS
from harness.core.stages import Architecture
from harness.core.text import human_size
from harness.oci import Descriptor, ImageLayout, MediaType
from harness.oci.layout import index_of
from harness.publish.seal import REVISION, SealedImage
from harness.publish.statements import Statement, statements_of
from harness.publish.tags import (
    ImageVersion,
    TagPlan,
    check_version_tag,
    of_region,
    parse,
    plan_tags,
)
from harness.registry import RegistryClient, Repository

_CARRIED_OVER = tuple(
    f"org.opencontainers.image.{name}"
    for name in ("title", "description", "version", "revision", "created", "source", "licenses")
)
_VERSION = "org.opencontainers.image.version"


@dataclass(frozen=True, kw_only=True)
class TagPolicy:
    """The caller's choices about tags."""

    latest: Annotated[
        bool | None,
        typer.Option("--latest/--no-latest", help="Move the tag latest; default: by version."),
    ] = None
    floating: Annotated[bool, typer.Option("--floating", help="Also tag v1.2 and v1.")] = False
    revision: Annotated[
        int, typer.Option(help="Number of a rebuilt image: 1 publishes v1.2.3-r1.", min=0)
    ] = 0


@dataclass(frozen=True, kw_only=True)
class RegionalPlan:
    """The image of one region for all architectures, ready to be pushed."""

    region: str
    images: tuple[ImageLayout, ...]
    index: Descriptor
    index_data: bytes

    @property
    def size(self) -> int:
        """Compressed bytes of the images of all architectures."""
        return sum(image.size for image in self.images)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A release, ready to be pushed."""

    repository: Repository
    version: str
    images: tuple[SealedImage, ...]
    index: Descriptor
    index_data: bytes
    statements: tuple[Statement, ...]  # to be signed
    tags: TagPlan
    regional: tuple[RegionalPlan, ...] = ()

    @property
    def tag(self) -> str:
        """The tag of this release that never moves."""
        return self.tags.moves[0].tag

    @property
    def name(self) -> str:
        """The reference to pull by digest."""
        return self.repository.at(self.index.digest)


def make_plan(
    images: Sequence[SealedImage], version: str, client: RegistryClient, policy: TagPolicy
) -> Plan:
    """Plan to publish `images` as `version` to the repository of `client`.

    Raises `NotProvenError` if they are not one complete release, `UsageError` if stand-ins would
    leave this machine, and the errors of `plan_tags`.
    """
    ordered = _complete(images, version)
    _keep_stand_ins_here(ordered, client.repository)
    tag = ImageVersion(parse(version), policy.revision).tag
    data = _index(ordered, [image.image for image in ordered], tag)
    index = Descriptor.of(data, MediaType.INDEX)
    regional = tuple(_regional(ordered, tag))
    for made in regional:
        check_version_tag(of_region(tag, made.region), made.index.digest, client.tag_digest)
    return Plan(
        repository=client.repository,
        version=version,
        images=ordered,
        index=index,
        index_data=data,
        statements=statements_of(
            ordered,
            index,
            {made.region: made.index for made in regional},
            client.repository,
        ),
        tags=plan_moves(version, index.digest, client, policy),
        regional=regional,
    )


def plan_moves(version: str, digest: str, client: RegistryClient, policy: TagPolicy) -> TagPlan:
    """Plan the tags of the index `digest` from what is in the registry now; see `plan_tags`."""
    listed = set(client.tags())
    return plan_tags(
        version,
        digest,
        listed,
        lambda tag: client.listed_digest(tag) if tag in listed else client.tag_digest(tag),
        latest=policy.latest,
        floating=policy.floating,
        revision=policy.revision,
    )


def render_plan(plan: Plan) -> str:
    """Render the plan for people."""
    lines = [f"{plan.tag} to {plan.repository}"]
    for image in plan.images:
        size = human_size(image.image.size)
        lines.append(f"  {image.image.platform}  {image.image.manifest.digest}  {size}")
        lines.append(f"    image ID {image.image.config.digest}; {image.proof.verdict}")
        lines.append(f"    scan {image.scan['verdict']}")
    lines.append(f"  index        {plan.index.digest}")
    for statement in plan.statements:
        subjects = " and ".join(subject.digest[:19] for subject in statement.subjects)
        lines.append(f"  statement    {statement.name} about {subjects}")
    for region in plan.regional:
        size = human_size(region.size)
        lines.append(f"  index        {region.index.digest}  {size}  {region.region}")
    for move in plan.tags.moves:
        was = "new" if move.before is None else f"was {move.before}"
        was = "already set" if move.before == plan.index.digest else was
        lines.append(f"  tag {move.tag}: {was}")
    if plan.regional:
        lines.append(f"  each tag also with -REGION, for {len(plan.regional)} regions")
    lines += [f"  tag {tag} unchanged: {why}" for tag, why in plan.tags.stays]
    stand_ins = {s.kind: s for image in plan.images for s in image.stand_ins}
    lines += [f"  stand-in: {kind} in place of {s.replaces}" for kind, s in stand_ins.items()]
    return "\n".join(lines)


def _complete(images: Sequence[SealedImage], version: str) -> tuple[SealedImage, ...]:
    """Return one image per architecture, all of `version` and from one commit."""
    found = {image.architecture: image for image in images}
    wanted = list(Architecture)
    if len(images) != len(found) or set(found) != set(wanted):
        have = ", ".join(sorted(image.architecture for image in images)) or "none"
        raise NotProvenError(
            f"a release needs exactly one image each for {' and '.join(wanted)}; given: {have}"
        )
    for image in images:
        if image.version != version:
            raise NotProvenError(f"{image.directory} is {image.version}, not {version}")
    if len(left_out := {image.proof.left_out for image in images}) > 1:
        found_out = " and ".join(", ".join(names) or "none" for names in sorted(left_out))
        raise NotProvenError(f"the images leave out different regions: {found_out}")
    if len(regions := {tuple(made.region for made in image.regional) for image in images}) > 1:
        raise NotProvenError(
            "the images have different regions: "
            + " and ".join(", ".join(names) or "none" for names in sorted(regions))
        )
    if len(revisions := {image.image.labels.get(REVISION, "") for image in images}) > 1:
        raise NotProvenError(
            f"the images were built from different commits: {', '.join(sorted(revisions))}"
        )
    _same_inputs(images)
    return tuple(found[architecture] for architecture in wanted)


def _same_inputs(images: Sequence[SealedImage]) -> None:
    """Raise `NotProvenError` if the images were built from different assets or base images.

    `checksums.txt` and the digest of the base image's index are the same for all architectures,
    except for stand-ins, which are made for one architecture.
    """
    kinds = {stand_in.kind for image in images for stand_in in image.stand_ins}
    inputs = {image.architecture: image.inputs for image in images}
    facts = {
        ("base image", "base images"): {n: made["base"]["digest"] for n, made in inputs.items()},
        ("plugin", "release assets (checksums.txt)"): {
            n: made["checksums_sha256"] for n, made in inputs.items()
        },
    }
    for (kind, what), found in facts.items():
        if kind not in kinds and len(set(found.values())) > 1:
            listed = ", ".join(f"{name} {digest or 'none'}" for name, digest in found.items())
            raise NotProvenError(
                f"the images were built from different {what}: {listed}. The release or the base"
                " changed between the builds; build both again."
            )


def _keep_stand_ins_here(images: Sequence[SealedImage], repository: Repository) -> None:
    kinds = sorted({s.kind for image in images for s in image.stand_ins if s.kind != "registry"})
    if kinds and not repository.on_loopback:
        raise UsageError(
            f"cannot publish images with stand-ins ({', '.join(kinds)}) to {repository.host}:"
            " use --registry localhost, or build a release with --stand-ins never"
        )


def _index(images: Sequence[SealedImage], layouts: Sequence[ImageLayout], tag: str) -> bytes:
    """Return the index; it has no timestamp, so the same images give the same index."""
    labels = layouts[0].labels
    annotations = {name: labels[name] for name in _CARRIED_OVER if labels.get(name)}
    annotations[_VERSION] = tag  # with the revision, which the images do not know
    kinds = sorted({s.kind for image in images for s in image.stand_ins})
    if kinds:
        annotations[STAND_INS] = ", ".join(kinds)
    return index_of(*(layout.manifest for layout in layouts), annotations=annotations)


def _regional(images: Sequence[SealedImage], tag: str) -> Iterator[RegionalPlan]:
    """Yield the image of each region; `images` have the same regions, see `_complete`."""
    for made in zip(*(image.regional for image in images), strict=True):
        layouts = tuple(one.image for one in made)
        data = _index(images, layouts, tag)
        yield RegionalPlan(
            region=made[0].region,
            images=layouts,
            index=Descriptor.of(data, MediaType.INDEX),
            index_data=data,
        )
