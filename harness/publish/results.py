"""Write the results of a release: page, `published.json`, and proofs with the digests."""

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.core.console import say
from harness.core.files import replace_directory, write_whole
from harness.publish.chart import Chart, PublishedChart
from harness.publish.plan import Plan
from harness.publish.push import PublishedImage
from harness.publish.regional import SBOM
from harness.publish.seal import SealedImage
from harness.publish.tags import of_region
from harness.report.html_report import render_html
from harness.report.json_report import render_json
from harness.report.write import append_summary

PAGE = "release.md"
PUBLISHED = "published.json"
ASSETS = "assets"
"""Directory of the files that become assets of the GitHub release."""


def write_results(
    published: PublishedImage, page: str, output: Path, environ: Mapping[str, str]
) -> None:
    """Write the page, `published.json`, one proof per architecture, and the assets to `output`.

    The proofs contain the image's digest in the registry; `subjects.txt` lists the digests to
    attest, and `subjects-ARCH.txt` those of one architecture's SBOM. The page is also appended to
    the file named by `GITHUB_STEP_SUMMARY` in `environ`.
    """
    plan = published.plan
    output.mkdir(parents=True, exist_ok=True)
    assets = output / ASSETS
    replace_directory(assets)
    for image in plan.images:
        name = plan.repository.at(image.image.manifest.digest)
        facts = replace(image.proof.image, repo_digests=(name,))
        proof = replace(image.proof, image=facts)
        text = render_json(proof)
        write_whole(output / f"proof-{image.architecture}.json", text)
        stem = f"{plan.tag}-{image.architecture}"
        write_whole(assets / f"{stem}-proof.json", text)
        write_whole(assets / f"{stem}-proof.html", render_html(proof))
        shutil.copyfile(image.file(SBOM), assets / f"{stem}-{SBOM}")
        _write_subjects(published, [image.image.manifest.digest, plan.index.digest], output, image)
    manifests = [image.image.manifest.digest for image in plan.images]
    _write_subjects(published, [plan.index.digest, *manifests], output)
    write_whole(output / PUBLISHED, json.dumps(to_json_dict(published), indent=2) + "\n")
    write_whole(output / PAGE, page)
    append_summary(page, environ)
    say(f"✓ {plan.tag} is published: {plan.name}\n  page: {output / PAGE}")


def _write_subjects(
    published: PublishedImage,
    digests: Sequence[str],
    output: Path,
    image: SealedImage | None = None,
) -> None:
    """Write `digests` as subjects for https://github.com/actions/attest, like sha256sum does."""
    name = f"subjects-{image.architecture}.txt" if image else "subjects.txt"
    repository = published.plan.repository
    lines = [f"{digest.removeprefix('sha256:')}  {repository}\n" for digest in digests]
    write_whole(output / name, "".join(lines))


def to_json_dict(published: PublishedImage) -> dict[str, Any]:
    """Return what was published, as JSON types."""
    plan = published.plan
    return {
        "schema_version": 1,
        "version": plan.version,
        "tag": plan.tag,
        "repository": str(plan.repository),
        "index": plan.index.to_json_dict(),
        "tags": list(published.tags),
        "signature": published.signature,
        "verification": [list(command) for command in published.verification],
        "trial": published.trial,
        "chart": _published_chart(published.chart) if published.chart else None,
        **_contents(plan, published.tags),
    }


def plan_to_json_dict(plan: Plan, chart: Chart) -> dict[str, Any]:
    """Return the plan of a dry run, as JSON types."""
    tags = plan.tags
    return {
        "schema_version": 1,
        "dry_run": True,
        "version": plan.version,
        "tag": plan.tag,
        "repository": str(plan.repository),
        "index": plan.index.to_json_dict(),
        "tags": [vars(move) for move in tags.moves],
        "unchanged_tags": [{"tag": tag, "why": why} for tag, why in tags.stays],
        "chart": _chart(chart),
        **_contents(plan, [move.tag for move in tags.moves]),
    }


def sealed_to_json_dict(sealed: SealedImage) -> dict[str, Any]:
    """Return a sealed image, as JSON types."""
    return {
        "schema_version": 1,
        "version": sealed.version,
        "architecture": sealed.architecture.value,
        "directory": str(sealed.directory),
        "seal": sealed.digest,
    }


def _contents(plan: Plan, tags: Iterable[str]) -> dict[str, Any]:
    """Return the images and artifacts of `plan`; `tags` are those of the whole image."""
    tags = tuple(tags)
    return {
        "images": [
            {
                "platform": str(image.image.platform),
                "manifest": image.image.manifest.digest,
                "config": image.image.config.digest,
                "layers": [layer.digest for layer in image.image.layers],
                "tested_image_id": image.proof.image.image_id,
                "seal": image.digest,
                "proof": image.proof.verdict,
                "scan": image.scan["verdict"],
                "stand_ins": [vars(stand_in) for stand_in in image.stand_ins],
            }
            for image in plan.images
        ],
        "regional": [
            {
                "region": made.region,
                "index": made.index.to_json_dict(),
                "tags": [of_region(tag, made.region) for tag in tags],
                "images": [
                    {
                        "platform": str(image.platform),
                        "manifest": image.manifest.digest,
                        "config": image.config.digest,
                    }
                    for image in made.images
                ],
            }
            for made in plan.regional
        ],
        "statements": [
            {
                "name": statement.name,
                "type": statement.predicate_type,
                "subjects": [subject.digest for subject in statement.subjects],
            }
            for statement in plan.statements
        ],
    }


def _published_chart(published: PublishedChart) -> dict[str, str]:
    return {**_chart(published.chart), "signature": published.signature}


def _chart(chart: Chart) -> dict[str, str]:
    return {
        "repository": str(chart.repository),
        "version": chart.version,
        "manifest": chart.digest,
    }
