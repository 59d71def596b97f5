"""Sign the statements of a release with cosign, with a key or the identity of a GitHub Actions job.

cosign only signs (`attest-blob`) and verifies; the harness pushes the bundles. cosign's own push
reads the list of referrers, adds an entry and writes it back, so that on a registry which shows
writes late one attestation replaces another. The key stays in the environment variable that cosign
reads; the registry password is passed in a file with mode 0600.
"""

import base64
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.core.console import step
from harness.core.decode import decode, member, text
from harness.core.errors import EnvironmentMissingError, RegistryError
from harness.core.files import write_whole
from harness.core.temporary import temporary_directory
from harness.core.untrusted import MALFORMED
from harness.publish.cosign import Cosign, find_cosign
from harness.publish.statements import SIGNATURE, TYPES, Statement, payload_of
from harness.registry import Credentials, Repository, Secret

KEY = "COSIGN_PRIVATE_KEY"
PASSWORD = "COSIGN_PASSWORD"
PUBLIC_KEY = "cosign.pub"
ISSUER = "https://token.actions.githubusercontent.com"
_IDENTITY = "ACTIONS_ID_TOKEN_REQUEST_URL"
_KEY_OPTION = ("--key", f"env://{KEY}")


@dataclass(frozen=True, kw_only=True)
class Signer:
    """How a release is signed, or why it is not."""

    how: str  # "key", "keyless" or ""
    why_not: str = ""
    offline: bool = False  # no transparency log: for registries on loopback
    identity: str = ""  # of the certificate of a keyless signature
    cosign: Cosign | None = None  # None if not signed
    held: Mapping[str, Secret] = field(default_factory=dict)  # a key made for a rehearsal

    @classmethod
    def from_environ(
        cls, environ: Mapping[str, str], *, offline: bool, unsigned: bool = False
    ) -> "Signer":
        """Choose how to sign from the environment; not at all if `unsigned`.

        Raises `EnvironmentMissingError` if there is a key or an identity, but no cosign: a release
        that could be signed is never unsigned by accident.
        """
        if unsigned:
            return cls(how="", why_not="--unsigned was given")
        how = "key" if environ.get(KEY) else ""
        if not how and environ.get(_IDENTITY) and not offline:
            how = "keyless"
        if not how:
            return cls(how="", why_not=f"neither {KEY} nor a GitHub Actions identity is set")
        identity = _identity(environ) if how != "key" else ""
        return cls(how=how, offline=offline, identity=identity, cosign=find_cosign())

    @classmethod
    def with_new_key(cls) -> "Signer":
        """Return a signer with a key that exists only for this run: for rehearsals."""
        cosign = find_cosign()
        password = secrets.token_urlsafe(24)
        with temporary_directory("key") as directory:
            environ = {PASSWORD: password}
            cosign.run(["cosign", "generate-key-pair"], environ=environ, cwd=directory)
            key = (directory / "cosign.key").read_text(encoding="utf-8")
        held = {KEY: Secret(key), PASSWORD: Secret(password)}
        return cls(how="key", offline=True, cosign=cosign, held=held)

    @property
    def summary(self) -> str:
        """How the release is signed, for people."""
        if not self.how:
            return f"not signed: {self.why_not}"
        log = "" if self.offline else ", recorded in the transparency log"
        return f"signed with {'a key' if self.how == 'key' else 'the identity of the job'}{log}"

    def sign(
        self, statements: Sequence[Statement], directory: Path, *, resumed: bool
    ) -> dict[str, Path]:
        """Sign `statements` and return their Sigstore bundles, in `directory`, by name.

        What the `resumed` run signed is not signed again. With a key, its public half is written to
        `PUBLIC_KEY` beside them. Raises `CommandError` if cosign fails.
        """
        if self.cosign is None:
            return {}
        directory.mkdir(parents=True, exist_ok=True)
        bundles = {s.name: directory / f"{s.name}.sigstore.json" for s in statements}
        with (
            step(f"signing {len(statements)} statements"),
            temporary_directory("sign") as work,
        ):
            reused = self._same_key(directory) and resumed
            if self.offline:
                self.cosign.prepare_offline(directory)
            for statement in statements:
                bundle = bundles[statement.name]
                if not (reused and statement.is_in(payload_of(bundle))):
                    self._sign(statement, bundle, work)
        return bundles

    def _same_key(self, directory: Path) -> bool:
        """Write the public key; return whether it is that of the earlier run."""
        if self.how != "key":
            return True
        path = directory / PUBLIC_KEY
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        public = self._run(["cosign", "public-key", *_KEY_OPTION], cwd=directory)
        write_whole(path, public)
        return public == before

    def _sign(self, statement: Statement, bundle: Path, work: Path) -> None:
        assert self.cosign
        given, made = work / "statement.json", work / "bundle.json"
        given.write_bytes(statement.content)
        options = _KEY_OPTION if self.how == "key" else ()
        command = self.cosign.attest(given, made, *options, offline=self.offline)
        self._run(command, cwd=bundle.parent)
        if not statement.is_in(payload_of(made)):
            raise EnvironmentMissingError(
                f"{self.cosign.path} signed something else than {statement.name}: install another"
                " version of cosign"
            )
        # The name appears with its whole content, which a resumed run relies on.
        write_whole(bundle, made.read_text(encoding="utf-8"))

    def commands(self, name: str, ca: Path | None) -> list[list[str]]:
        """Return the commands that verify the image `name` and print its attestations.

        They run beside `PUBLIC_KEY`.
        """
        if self.cosign is None:
            return []
        by = ["--key", PUBLIC_KEY] if self.how == "key" else verify_identity(self.identity)
        options = [*by, *(["--registry-cacert", str(ca.resolve())] if ca else [])]
        return [
            self.cosign.verify(name, options, offline=self.offline),
            *(
                self.cosign.verify_attestation(name, kind, options, offline=self.offline)
                for kind in TYPES.values()
            ),
        ]

    def verify(
        self,
        statements: Sequence[Statement],
        repository: Repository,
        directory: Path,
        credentials: Credentials | None,
        ca: Path | None,
    ) -> None:
        """Verify with cosign that the registry has each of `statements` for each subject, signed.

        Raises `CommandError` if cosign refuses, and `RegistryError` if one is not there.
        """
        subjects = dict.fromkeys(s.digest for statement in statements for s in statement.subjects)
        with (
            step("verifying signature and attestations"),
            _docker_config(repository.host, credentials) as environ,
        ):
            for digest in subjects:
                name = repository.at(digest)
                about = [s for s in statements if digest in {d.digest for d in s.subjects}]
                commands = zip((SIGNATURE, *TYPES), self.commands(name, ca), strict=True)
                for kind, command in commands:
                    if expected := [s for s in about if s.predicate_type == kind]:
                        found = self._run(command, cwd=directory, environ=environ)
                        _compare(kind, found, expected, name)

    def _run(
        self, command: Sequence[str], *, cwd: Path, environ: Mapping[str, str] | None = None
    ) -> str:
        assert self.cosign
        secret = {name: value.reveal() for name, value in self.held.items()}
        given = {PASSWORD: os.environ.get(PASSWORD, ""), **(environ or {}), **secret}
        return self.cosign.run(command, environ=given, cwd=cwd)


def _compare(kind: str, found: str, expected: Sequence[Statement], name: str) -> None:
    """Raise `RegistryError` unless cosign's output has every statement that is `expected`."""
    try:
        if kind == SIGNATURE:
            # cosign accepts any signed attestation as a signature; only its type tells them apart.
            shown = decode(tuple[Any, ...], json.loads(found), "signatures")
            there = any(text(one, "critical", "type") == SIGNATURE for one in shown)
        else:
            lines = [json.loads(line) for line in found.splitlines() if line]
            payloads = [member(line, str, "payload") for line in lines]
            there = all(any(s.is_in(payload) for payload in payloads) for s in expected)
    except MALFORMED:
        there = False
    if not there:
        raise RegistryError(
            f"{name} does not have every statement of type {kind} that was attached to it:"
            " continue with --resume, which attaches them again"
        )


def _identity(environ: Mapping[str, str]) -> str:
    """Return the identity that Fulcio certifies: repository, workflow and ref of the job.

    https://github.com/sigstore/fulcio/blob/main/docs/oidc.md#github
    """
    workflow = environ.get("GITHUB_WORKFLOW_REF")
    if not workflow:
        raise EnvironmentMissingError(
            f"{_IDENTITY} is set, but GITHUB_WORKFLOW_REF is not: the signature's identity is"
            f" unknown. Run in GitHub Actions, or set {KEY}."
        )
    return f"{environ.get('GITHUB_SERVER_URL', 'https://github.com')}/{workflow}"


def verify_identity(identity: str) -> list[str]:
    """Return cosign's options that accept only the certificate identity `identity`.

    cosign searches for the pattern, so it needs both anchors:
    https://docs.sigstore.dev/cosign/verifying/verify/#keyless-verification-using-openid-connect
    """
    pattern = re.sub(r"([^\w/:@-])", r"\\\1", identity)
    return [
        *("--certificate-oidc-issuer", ISSUER),
        *("--certificate-identity-regexp", f"^{pattern}$"),
    ]


@contextmanager
def _docker_config(host: str, credentials: Credentials | None) -> Iterator[dict[str, str]]:
    """Yield an environment with the registry credentials; argv is readable by every user."""
    if credentials is None or credentials.identity_token:
        yield {}
        return
    with temporary_directory("login") as directory:
        pair = f"{credentials.username}:{credentials.secret.reveal()}"
        auth = base64.b64encode(pair.encode()).decode()
        path = directory / "config.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps({"auths": {host: {"auth": auth}}}), encoding="utf-8")
        yield {"DOCKER_CONFIG": str(directory)}
