"""Describe how an image was built, as an in-toto statement with SLSA provenance.

https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md and
https://slsa.dev/spec/v1.0/provenance. No build platform signs it, so it is SLSA level 1.
"""

from collections.abc import Mapping
from typing import Any

from harness import __version__
from harness.build.image import DIRTY, REPOSITORY_NAME
from harness.core.stages import BuiltImage
from harness.oci import Descriptor

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "https://github.com/rshade/finfocus-plugin-aws-public/image-build/v1"


def statement(
    built: BuiltImage,
    manifests: Mapping[str, Descriptor],
    revision: str,
    environ: Mapping[str, str],
) -> dict[str, Any]:
    """Return the provenance of the images with `manifests` as JSON types, reproducibly.

    They are by region; that of the image with all regions is by "".
    """
    return {
        "_type": STATEMENT,
        "subject": [
            {"name": f"{REPOSITORY_NAME} {region}".strip(), "digest": _digest(manifest.digest)}
            for region, manifest in manifests.items()
        ],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "version": built.version,
                    "architecture": built.architecture.value,
                    "baseImage": built.base.reference,
                    "releases": built.release.base_url,
                    "without": [region.name for region in built.release.left_out],
                },
                "internalParameters": {
                    "imageId": built.image_id,
                    "standIns": [vars(stand_in) for stand_in in built.stand_ins],
                },
                "resolvedDependencies": _materials(built, revision),
            },
            "runDetails": {
                "builder": {
                    "id": _builder(environ),
                    "version": {"finfocus-image-harness": __version__},
                },
                "metadata": _metadata(environ),
            },
        },
    }


def _materials(built: BuiltImage, revision: str) -> list[dict[str, Any]]:
    """Return sources, base image and tarballs, each with its digest."""
    found: list[dict[str, Any]] = []
    if revision:
        sources: dict[str, Any] = {
            "name": "image sources",
            "digest": {"gitCommit": revision.removesuffix(DIRTY)},
        }
        if revision.endswith(DIRTY):
            sources["annotations"] = {"uncommittedChanges": True}
        found.append(sources)
    base = built.base.digest or built.base.image_id
    found.append({"name": built.base.reference, "digest": _digest(base)})
    root = f"{built.release.base_url}/{built.version}"
    found += [
        {"name": asset.name, "uri": f"{root}/{asset.name}", "digest": {"sha256": asset.sha256}}
        for asset in built.release.assets
    ]
    return found


def _digest(digest: str) -> dict[str, str]:
    return {"sha256": digest.removeprefix("sha256:")}


def _builder(environ: Mapping[str, str]) -> str:
    """Return the workflow on GitHub Actions, else an ID for an unattested machine.

    https://docs.github.com/en/actions/reference/workflows-and-actions/variables
    """
    if workflow := environ.get("GITHUB_WORKFLOW_REF"):
        return f"{environ.get('GITHUB_SERVER_URL', 'https://github.com')}/{workflow}"
    return "urn:finfocus-image-harness:unattested-machine"


def _metadata(environ: Mapping[str, str]) -> dict[str, str]:
    server, repository = environ.get("GITHUB_SERVER_URL"), environ.get("GITHUB_REPOSITORY")
    run, attempt = environ.get("GITHUB_RUN_ID"), environ.get("GITHUB_RUN_ATTEMPT", "1")
    if not (server and repository and run):
        return {}
    return {"invocationId": f"{server}/{repository}/actions/runs/{run}/attempts/{attempt}"}
