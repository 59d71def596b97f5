"""Sign statements, attach them to what they are about, and verify what the registry has."""

from collections.abc import Sequence
from pathlib import Path

from harness.core.console import step
from harness.publish.sign import Signer
from harness.publish.statements import Statement
from harness.registry import Artifact, RegistryClient, attach, referrers
from harness.registry.transport import MayPassError

ATTESTATIONS = "attestations"
"""Directory, beside the record, of the signed statements and the public key."""


def sign_and_attach(
    statements: Sequence[Statement],
    client: RegistryClient,
    signer: Signer,
    directory: Path,
    *,
    ca: Path | None,
    resumed: bool,
) -> None:
    """Sign `statements` into `directory`, attach each to its subjects, and verify them with cosign.

    Does nothing if the release is not signed: nobody could verify what it attached. Raises
    `RegistryError`, and `CommandError` if cosign fails.
    """
    if not signer.how:
        return
    bundles = signer.sign(statements, directory, resumed=resumed)
    artifacts = [
        statement.artifact(bundles[statement.name], subject)
        for statement in statements
        for subject in statement.subjects
    ]
    with step("attaching what was signed"):
        attach(client, artifacts)
    for content in {artifact.content.digest: artifact.content for artifact in artifacts}.values():
        client.check_blob(content)
    for artifact in artifacts:
        client.settle(artifact.descriptor.digest, artifact.descriptor.digest)
    for subject in {artifact.subject.digest for artifact in artifacts}:
        _check_attached(artifacts, subject, client)
    credentials = client.transport.auth.credentials
    signer.verify(statements, client.repository, directory, credentials, ca)


def _check_attached(artifacts: Sequence[Artifact], subject: str, client: RegistryClient) -> None:
    wanted = {a.descriptor.digest for a in artifacts if a.subject.digest == subject}
    for attempt in client.transport.settling():
        with attempt:
            listed = {entry.digest for entry in referrers(client, subject)}
            if missing := wanted - listed:
                raise MayPassError(
                    f"{client.repository} does not list {len(missing)} of {len(wanted)}"
                    f" attestations of {subject}"
                )
