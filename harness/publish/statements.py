"""What a release states about its images, as in-toto statements to be signed.

https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md. Each statement is attached to
every subject that it names: an architecture's provenance, SBOM and proof to its manifest and to the
index, the provenance also to the index of each region, and to each index its own signature.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.decode import member
from harness.core.untrusted import MALFORMED
from harness.oci import Descriptor, canonical_json
from harness.publish.provenance import PREDICATE, STATEMENT
from harness.publish.regional import PROOF, SBOM
from harness.publish.seal import PROVENANCE, SealedImage
from harness.registry import Artifact, Repository

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
"""https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md"""
SIGNATURE = "https://sigstore.dev/cosign/sign/v1"
"""The predicate of `cosign sign`: it states nothing but the digest."""
CYCLONEDX = "https://cyclonedx.org/bom"
PROOF_PREDICATE = "https://github.com/rshade/finfocus-plugin-aws-public/image-proof/v1"
TYPES = {PREDICATE: "slsaprovenance1", CYCLONEDX: "cyclonedx", PROOF_PREDICATE: PROOF_PREDICATE}
"""Predicate types of the attestations, and what `cosign verify-attestation --type` calls them."""
KINDS = {PREDICATE: "provenance", CYCLONEDX: "SBOM", PROOF_PREDICATE: "proof"}


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One statement and the manifests that it is about."""

    name: str  # "amd64-provenance"
    predicate_type: str
    subjects: tuple[Descriptor, ...]
    content: bytes  # of the in-toto statement

    def artifact(self, bundle: Path, subject: Descriptor) -> Artifact:
        """Return the signed `bundle` of this statement, as a referrer of `subject`."""
        return Artifact(
            path=bundle,
            content=Descriptor.of(bundle.read_bytes(), BUNDLE),
            artifact_type=BUNDLE,
            subject=subject,
            annotations={
                "dev.sigstore.bundle.content": "dsse-envelope",
                "dev.sigstore.bundle.predicateType": self.predicate_type,
            },
        )

    def is_in(self, payload: str | None) -> bool:
        """Return whether the DSSE `payload`, in base64, is this statement."""
        try:
            stated = json.loads(base64.b64decode(payload or ""))
        except MALFORMED:
            return False
        return bool(stated == json.loads(self.content))


def statements_of(
    images: Sequence[SealedImage],
    index: Descriptor,
    regional: Mapping[str, Descriptor],
    repository: Repository,
) -> tuple[Statement, ...]:
    """Return the statements about `index`, its `images` and the `regional` indexes by region."""
    made = [signature_of("signature", index, repository)]
    for region, subject in regional.items():
        made.append(signature_of(f"signature-{region}", subject, repository))
    for image in images:
        subjects = (image.image.manifest, index)
        predicates = {
            PREDICATE: json.loads(image.file(PROVENANCE).read_bytes())["predicate"],
            CYCLONEDX: json.loads(image.file(SBOM).read_bytes()),
            PROOF_PREDICATE: json.loads(image.file(PROOF).read_bytes()),
        }
        for kind, predicate in predicates.items():
            name = f"{image.architecture}-{KINDS[kind].lower()}"
            about = (*subjects, *regional.values()) if kind == PREDICATE else subjects
            made.append(_statement(name, kind, predicate, about, repository))
        for one in image.regional:
            name = f"{image.architecture}-{KINDS[CYCLONEDX].lower()}-{one.region}"
            sbom = json.loads(one.file(SBOM).read_bytes())
            about = (one.image.manifest, regional[one.region])
            made.append(_statement(name, CYCLONEDX, sbom, about, repository))
    return tuple(made)


def signature_of(name: str, subject: Descriptor, repository: Repository) -> Statement:
    """Return the statement that signs `subject`: what `cosign sign` would sign."""
    return _statement(name, SIGNATURE, {}, (subject,), repository)


def _statement(
    name: str,
    predicate_type: str,
    predicate: Any,
    subjects: tuple[Descriptor, ...],
    repository: Repository,
) -> Statement:
    # A local registry's port changes, and a resumed run must recognize its statements.
    where = repository.name if repository.on_loopback else str(repository)
    content = {
        "_type": STATEMENT,
        "subject": [
            {"name": where, "digest": {"sha256": s.digest.removeprefix("sha256:")}}
            for s in subjects
        ],
        "predicateType": predicate_type,
        "predicate": predicate,
    }
    return Statement(
        name=name,
        predicate_type=predicate_type,
        subjects=subjects,
        content=canonical_json(content),
    )


def payload_of(bundle: Path) -> str | None:
    """Return the payload, in base64, of a Sigstore bundle; None if it cannot be read."""
    try:
        found: str = member(json.loads(bundle.read_bytes()), str, "dsseEnvelope", "payload")
    except (OSError, *MALFORMED):
        return None
    return found
