"""Seal a scanned image into a directory that another machine can publish.

The directory contains the image as an OCI layout, the proof, the scan and the provenance;
`seal.json`, written last, has the digest of each. Only `seal` turns a `ScannedImage` into a
`SealedImage`, and `unseal` loads it after recomputing every digest.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import docker

from harness.build.image import build_record
from harness.core.decode import decode, encode, member
from harness.core.errors import EnvironmentMissingError, NotProvenError
from harness.core.files import OWN, check_replaceable
from harness.core.proof import Proof, StandIn
from harness.core.regions import IMAGE_DIRECTORY
from harness.core.stages import Architecture
from harness.core.untrusted import MALFORMED
from harness.oci import Descriptor, ImageLayout, canonical_json, export_image, sha256, verify_layout
from harness.oci.export import removed_unless_complete
from harness.publish.provenance import statement
from harness.publish.regional import (
    PROOF,
    ProveRegion,
    RegionalImage,
    derived,
    load_regional,
    make_regional,
    regional_checks,
)
from harness.report.json_report import render_json
from harness.scan import ScannedImage

SEAL = "seal.json"
SEAL_VERSION = 2
LAYOUT = "oci"
PROVENANCE = "provenance.json"
BUILD = "build.json"
REVISION = "org.opencontainers.image.revision"
# With the containerd image store, the engine's image IDs are digests of its manifests.
_CONFIG = "config"


@dataclass(frozen=True, kw_only=True)
class SealedImage:
    """A scanned image on disk, with its proof, scan and provenance."""

    directory: Path
    digest: str  # of its seal
    version: str
    architecture: Architecture
    image: ImageLayout
    proof: Proof
    scan: Mapping[str, Any]  # the scan report as JSON types
    stand_ins: tuple[StandIn, ...]
    regional: tuple[RegionalImage, ...]

    def file(self, name: str) -> Path:
        """Return the path of a sealed file, such as `SBOM`."""
        return self.directory / name

    @property
    def inputs(self) -> Mapping[str, Any]:
        """The inputs in the build record; see docs/build-record.md."""
        inputs: Mapping[str, Any] = json.loads(self.file(BUILD).read_bytes())["inputs"]
        return inputs


@dataclass(frozen=True, kw_only=True)
class _Content:
    """The content of `seal.json`."""

    schema_version: int
    version: str
    architecture: Architecture
    image_id: str
    image_id_is: str
    manifest: Mapping[str, Any]
    regional: Mapping[str, Any]
    scan: Mapping[str, Any]
    stand_ins: tuple[StandIn, ...]
    files: Mapping[str, str]


def seal(
    client: docker.DockerClient, scanned: ScannedImage, directory: Path, prove: ProveRegion
) -> SealedImage:
    """Write `scanned` to `directory` with the image of each region, replacing an earlier seal.

    `prove` examines the image of a region. Raises `UsageError` as `check_export` does,
    `NotProvenError` if proof, scan and image do not belong together or a region's image is not
    proven, and `EnvironmentMissingError` if writing fails; `directory` is removed in the last two
    cases.
    """
    built, proof = scanned.verified.built, scanned.verified.proof
    _check(built.image_id, proof, scanned.report.to_json_dict())
    try:
        with removed_unless_complete(directory, ours=_has_seal(directory)):
            return _sealed(client, scanned, directory, prove)
    except OSError as error:
        raise EnvironmentMissingError(
            f"cannot write {directory}: {error.strerror or error}; check free disk space and"
            " permissions"
        ) from error


def _sealed(
    client: docker.DockerClient, scanned: ScannedImage, directory: Path, prove: ProveRegion
) -> SealedImage:
    built, proof, report = scanned.verified.built, scanned.verified.proof, scanned.report
    image = export_image(client, built.image_id, directory / LAYOUT)
    regional = make_regional(dict(derived(image)), report.sbom, directory, prove)
    proof = replace(proof, checks=(*proof.checks, *regional_checks(regional, image)))
    manifests = {"": image.manifest} | {made.region: made.image.manifest for made in regional}
    provenance = statement(built, manifests, image.labels.get(REVISION, ""), os.environ)
    stand_ins = _once((*built.stand_ins, *proof.stand_ins, *report.stand_ins))
    directory.joinpath(PROOF).write_text(render_json(proof), encoding="utf-8")
    directory.joinpath(PROVENANCE).write_bytes(canonical_json(provenance))
    record = json.dumps(build_record(built, IMAGE_DIRECTORY), indent=2)
    directory.joinpath(BUILD).write_text(record, encoding="utf-8")
    for path in (report.trivy_json, report.sarif, report.sbom):
        shutil.copyfile(path, directory / path.name)
    content = _Content(
        schema_version=SEAL_VERSION,
        version=built.version,
        architecture=built.architecture,
        image_id=built.image_id,
        image_id_is=_CONFIG if image.config.digest == built.image_id else "manifest",
        manifest=image.manifest.to_json_dict(),
        regional={made.region: made.image.manifest.to_json_dict() for made in regional},
        scan=report.to_json_dict(),
        stand_ins=stand_ins,
        files=_files(directory),
    )
    data = canonical_json(encode(content))
    directory.joinpath(SEAL).write_bytes(data)
    return SealedImage(
        directory=directory,
        digest=sha256(data),
        version=built.version,
        architecture=built.architecture,
        image=image,
        proof=proof,
        scan=report.to_json_dict(),
        stand_ins=stand_ins,
        regional=regional,
    )


def check_export(directory: Path) -> None:
    """Raise `UsageError` unless `directory` is absent, empty, or written by an earlier export."""
    check_replaceable(directory, ours=_has_seal(directory))


def _has_seal(directory: Path) -> bool:
    try:
        content: dict[str, Any] = decode(
            Mapping[str, Any], json.loads((directory / SEAL).read_bytes()), SEAL
        )
        return {"schema_version", "image_id", "files"} <= set(content)
    except (OSError, *MALFORMED):
        return False


def unseal(directory: Path) -> SealedImage:
    """Load the sealed image in `directory` after recomputing every digest.

    Raises `NotProvenError` that names the first difference.
    """
    path = directory / SEAL
    try:
        data = path.read_bytes()
    except OSError:
        raise NotProvenError(
            f"{directory} has no {SEAL}: its build, proof or scan did not succeed; create it again"
            " with --export"
        ) from None
    try:
        return _unsealed(directory, data)
    except MALFORMED as error:
        raise NotProvenError(
            f"cannot read {path}: {error}; create it again with --export"
        ) from error


def _unsealed(directory: Path, data: bytes) -> SealedImage:
    document = json.loads(data)
    if member(document, Any, "schema_version") != SEAL_VERSION:
        raise NotProvenError(
            f"{directory / SEAL} was written by another version of the harness; create it again"
            " with --export"
        )
    content: _Content = decode(_Content, document, SEAL)
    _compare(directory, content.files)
    image = verify_layout(directory / LAYOUT)
    if image.manifest != Descriptor.from_json_dict(content.manifest):
        raise NotProvenError(f"{directory / LAYOUT} does not contain the image that was sealed")
    if content.image_id_is == _CONFIG and content.image_id != image.config.digest:
        raise NotProvenError(
            f"{directory} contains the image {image.config.digest}, but {content.image_id}"
            " was tested"
        )
    proof = Proof.from_json_dict(json.loads((directory / PROOF).read_bytes()))
    _check(content.image_id, proof, content.scan)
    if image.platform.architecture != content.architecture:
        raise NotProvenError(
            f"{directory} was sealed as {content.architecture}, but contains {image.platform}"
        )
    return SealedImage(
        directory=directory,
        digest=sha256(data),
        version=content.version,
        architecture=content.architecture,
        image=image,
        proof=proof,
        scan=content.scan,
        stand_ins=content.stand_ins,
        regional=load_regional(image, content.regional, directory),
    )


def _check(image_id: str, proof: Proof, scan: Mapping[str, Any]) -> None:
    """Check that proof and scan passed and belong to this image."""
    if not proof.proven:
        raise NotProvenError(f"cannot release {image_id}: it is {proof.verdict}")
    if proof.image.image_id != image_id:
        raise NotProvenError(f"the proof is for {proof.image.image_id}, the image is {image_id}")
    if member(scan, bool, "passed") is not True:
        verdict = member(scan, str, "verdict")
        raise NotProvenError(f"cannot release {image_id}: its scan {verdict}")
    if (scanned := member(scan, str, "image_id")) != image_id:
        raise NotProvenError(f"the scan is for {scanned}, the image is {image_id}")


def _files(directory: Path) -> dict[str, str]:
    """Return the digest of each file, except the layout's blobs, which are named by digest."""
    blobs = directory / LAYOUT / "blobs"
    found = {}
    for path in sorted(directory.rglob("*")):
        if path.is_file() and blobs not in path.parents and path.name not in {SEAL, OWN}:
            with path.open("rb") as file:
                found[str(path.relative_to(directory))] = (
                    f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
                )
    return found


def _compare(directory: Path, sealed: Mapping[str, str]) -> None:
    found = _files(directory)
    for name in sorted({*found, *sealed}):
        if found.get(name) != sealed.get(name):
            what = "is missing" if name not in found else "differs from what was sealed"
            raise NotProvenError(
                f"{directory / name} {what}: create the directory again with --export"
            )


def _once(stand_ins: Iterable[StandIn]) -> tuple[StandIn, ...]:
    return tuple({(s.kind, s.replaces): s for s in stand_ins}.values())
