"""Render the Markdown page of a release, used as the body of the GitHub release."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from harness.core.text import human_size
from harness.core.untrusted import UNREADABLE
from harness.oci.export import REGION_ANNOTATION
from harness.publish.plan import ARTIFACTS, Plan
from harness.publish.push import PublishedImage
from harness.publish.seal import SBOM, SealedImage
from harness.publish.sign import KEY, verify_identity
from harness.registry import RegistryClient

Sizes = Mapping[str, Mapping[str, int]]
"""Architecture to region to compressed bytes."""


def render_page(published: PublishedImage, before: tuple[str, Sizes] | None) -> str:
    """Render the page; `before` is the previous release and its sizes, as from `sizes_of`."""
    plan = published.plan
    blocks = [
        f"# {plan.repository.name} {plan.tag}",
        _unsupported(plan),
        _stand_ins(plan),
        _regions_left_out(plan),
        "Pull the tested image by digest:",
        f"```console\n$ docker pull {plan.name}\n```",
        f"Tags: {', '.join(f'`{tag}`' for tag in published.tags)}. Index `{plan.index.digest}`.",
        _platforms(plan),
        "## Verify it",
        _verify(published),
        "## Attachments",
        _attached(plan),
        "## Compressed size by region",
        _sizes(plan, before),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


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
            (str((entry.get("platform") or {}).get("architecture", "")), str(entry["digest"]))
            for entry in json.loads(index).get("manifests", [])
        ]
    except UNREADABLE:
        return []


def _sizes_in(manifest: bytes) -> dict[str, int]:
    """Region and size of each layer that has a region's binary."""
    try:
        return {
            str(layer["annotations"][REGION_ANNOTATION]): int(layer["size"])
            for layer in json.loads(manifest).get("layers", [])
            if REGION_ANNOTATION in (layer.get("annotations") or {})
        }
    except UNREADABLE:
        return {}


def _unsupported(plan: Plan) -> str:
    words = dict.fromkeys(str(image.scan.get("unsupported") or "") for image in plan.images)
    return "\n>\n".join(f"> **{_cell(text)}.**" for text in words if text)


def _stand_ins(plan: Plan) -> str:
    found = {(s.kind, s.replaces): s for image in plan.images for s in image.stand_ins}
    if not found:
        return ""
    lines = [f"> - **{s.kind}** in place of {s.replaces}: {s.why}" for s in found.values()]
    return "\n".join(["> **This release contains stand-ins. It is for trial only.**", ">", *lines])


def _regions_left_out(plan: Plan) -> str:
    coverage = plan.images[0].proof.coverage
    return f"> **This release has {coverage}.**" if coverage else ""


def _platforms(plan: Plan) -> str:
    rows = [
        "| platform | manifest | image ID tested | size | proof | scan |",
        "|---|---|---|---|---|---|",
    ]
    for image in plan.images:
        layout = image.image
        size = human_size(sum(blob.size for blob in layout.blobs))
        cells = [
            str(layout.platform),
            f"`{layout.manifest.digest}`",
            f"`{layout.config.digest}`",
            size,
            _cell(image.proof.verdict),
            _cell(image.scan["verdict"]),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _cell(text: Any) -> str:
    return " ".join(str(text).replace("|", r"\|").split())


def _verify(published: PublishedImage) -> str:
    name = published.plan.name
    if published.signature.startswith("not "):
        return f"This release is {published.signature}. Compare the digest above instead."
    if "key" in published.signature:
        command = f"cosign verify --key cosign.pub {name}"
        why = f"Signed with the key whose private half is `{KEY}` of the release job."
    else:
        command = shlex.join(["cosign", "verify", *verify_identity(published.identity), name])
        why = f"Signed with the identity of the release job, `{published.identity}`."
    return f"{why}\n\n```console\n$ {command}\n```"


def _attached(plan: Plan) -> str:
    """List SBOM, provenance and proof, and how to fetch them with a standard tool."""
    lines = ["| attachment | platform | blob |", "|---|---|---|"]
    names = {kind: name for name, kind in ARTIFACTS.items()}
    platform = {i.image.manifest.digest: str(i.image.platform) for i in plan.images}
    for made in plan.artifacts:
        where = platform[made.subject.digest]
        lines.append(f"| {names[made.artifact_type]} | {where} | `{made.content.digest}` |")
    sbom = ARTIFACTS[SBOM]
    subject = plan.images[0].image.manifest.digest
    example = f"$ oras discover --artifact-type {sbom} {plan.repository.at(subject)}"
    return "\n".join(lines) + f"\n\n```console\n{example}\n```"


def _sizes(plan: Plan, before: tuple[str, Sizes] | None) -> str:
    title = f"change since {before[0]}" if before else ""
    heads = [
        str(image.image.platform) + (f" and {title}" if title else "") for image in plan.images
    ]
    rows = [f"| region | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
    old = before[1] if before else {}
    regions = dict.fromkeys(region for image in plan.images for region in _regions(image))
    for region in regions:
        cells = [
            _size(_regions(image).get(region), old.get(image.architecture, {}).get(region), before)
            for image in plan.images
        ]
        rows.append(f"| {region} | {' | '.join(cells)} |")
    note = "" if before else "\n\nThis is the first release in this registry."
    return "\n".join(rows) + note


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
