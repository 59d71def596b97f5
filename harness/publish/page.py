"""Render the Markdown page of a release from a Jinja2 template."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from harness.core.decode import member
from harness.core.text import human_size
from harness.core.untrusted import MALFORMED
from harness.oci.layout import REGION_ANNOTATION, ImageLayout
from harness.publish.plan import Plan
from harness.publish.push import PublishedImage
from harness.publish.seal import SealedImage
from harness.publish.sign import PUBLIC_KEY
from harness.publish.statements import KINDS
from harness.publish.tags import of_region
from harness.registry import RegistryClient
from harness.report.markdown_templates import markdown_environment

Sizes = Mapping[str, Mapping[str, int]]
"""Architecture to region to compressed bytes."""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """How a reader verifies signature and attestations."""

    why: str  # what was signed, or why nothing was
    commands: Sequence[str] = ()  # for the image and its chart; none without a signature


def render_page(published: PublishedImage, before: tuple[str, Sizes] | None) -> str:
    """Render the page; `before` is the previous release and its sizes, as from `sizes_of`."""
    plan = published.plan
    environment = markdown_environment("harness.publish")
    environment.filters |= {"cell": _cell, "image_size": _image_size}
    environment.filters["of_region"] = of_region
    text = environment.get_template("page.md").render(
        plan=plan,
        published=published,
        unsupported=_once(image.scan.get("unsupported") for image in plan.images),
        stand_ins=_once_each(plan),
        coverage=plan.images[0].proof.coverage,
        verification=_verification(published),
        attested=_attested(plan) if published.verification else [],
        before=before[0] if before else "",
        regions=_sizes(plan, before),
    )
    return text.strip() + "\n"


def sizes_of(client: RegistryClient, tag: str) -> Sizes | None:
    """Return the sizes of a release's region layers in the registry; None if it has none."""
    found: dict[str, dict[str, int]] = {}
    index = client.manifest(tag)
    for architecture, digest in _listed(index) if index else ():
        manifest = client.manifest(digest)
        if regions := _sizes_in(manifest) if manifest else {}:
            found[architecture] = regions
    return found or None


# What another tool's release says in a form of its own tells nothing, hence the empty answers.
def _listed(index: bytes) -> list[tuple[str, str]]:
    """Architecture and digest of each manifest in `index`."""
    try:
        return [
            (
                member(entry, str | None, "platform", "architecture") or "",
                member(entry, str, "digest"),
            )
            for entry in member(json.loads(index), tuple[Any, ...] | None, "manifests") or ()
        ]
    except MALFORMED:
        return []


def _sizes_in(manifest: bytes) -> dict[str, int]:
    """Region and size of each layer that has a region's binary."""
    try:
        return {
            region: member(layer, int, "size")
            for layer in member(json.loads(manifest), tuple[Any, ...] | None, "layers") or ()
            if (region := member(layer, str | None, "annotations", REGION_ANNOTATION))
        }
    except MALFORMED:
        return {}


def _once(words: Any) -> list[str]:
    return list(dict.fromkeys(str(word) for word in words if word))


def _once_each(plan: Plan) -> list[Any]:
    """The stand-ins of all images, each once."""
    found = {(s.kind, s.replaces): s for image in plan.images for s in image.stand_ins}
    return list(found.values())


def _image_size(image: ImageLayout) -> str:
    return human_size(image.size)


def _cell(text: Any) -> str:
    return " ".join(str(text).replace("|", r"\|").split())


def _verification(published: PublishedImage) -> Verification:
    """Return the commands that the release ran itself."""
    if not published.verification:
        why = f"This release is {published.signature}. Compare the digest above instead."
        return Verification(why=why)
    if published.identity:
        why = f"Signed with the identity of the release job, `{published.identity}`."
    else:
        why = f"Signed with the key whose public half is `{PUBLIC_KEY}`."
    chart = published.chart.verification if published.chart else ()
    commands = [shlex.join(command) for command in (*published.verification, *chart)]
    if published.identity:
        commands.append(shlex.join(gh_command(published.plan.name, published.identity)))
    return Verification(why=why, commands=tuple(commands))


def gh_command(name: str, identity: str) -> list[str]:
    """Return the command that verifies the provenance of `name` with GitHub's command line.

    https://cli.github.com/manual/gh_attestation_verify
    """
    repository = "/".join(urlsplit(identity).path.split("/")[1:3])
    command = ["gh", "attestation", "verify", f"oci://{name}", "--repo", repository]
    return [*command, "--cert-identity", identity]


def _attested(plan: Plan) -> list[tuple[str, str, str]]:
    """Return kind, subjects and predicate type of each attestation."""
    names = {i.image.manifest.digest: str(i.image.platform) for i in plan.images}
    names[plan.index.digest] = "index"
    return [
        (
            KINDS[statement.predicate_type],
            ", ".join(names.get(s.digest, "") for s in statement.subjects if s.digest in names),
            statement.predicate_type,
        )
        for statement in plan.statements
        if statement.predicate_type in KINDS and any(s.digest in names for s in statement.subjects)
    ]


def _sizes(plan: Plan, before: tuple[str, Sizes] | None) -> dict[str, list[str]]:
    """Each region's sizes, one for each image, with the change since `before`."""
    old = before[1] if before else {}
    regions = dict.fromkeys(region for image in plan.images for region in _regions(image))
    return {
        region: [
            _size(_regions(image).get(region), old.get(image.architecture, {}).get(region), before)
            for image in plan.images
        ]
        for region in regions
    }


def _size(now: int | None, old: int | None, before: tuple[str, Sizes] | None) -> str:
    if now is None:
        return "–"
    if before is None:
        return human_size(now)
    if old is None:
        return f"{human_size(now)} (new)"
    if now == old:
        return f"{human_size(now)} (same)"
    return f"{human_size(now)} ({'+' if now > old else '−'}{human_size(abs(now - old))})"


def _regions(image: SealedImage) -> dict[str, int]:
    return {
        layer.annotations[REGION_ANNOTATION]: layer.size
        for layer in image.image.layers
        if REGION_ANNOTATION in layer.annotations
    }
