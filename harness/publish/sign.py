"""Sign the index with cosign, with a key or the identity of a GitHub Actions job.

https://docs.sigstore.dev/cosign/signing/signing_with_containers/. The key stays in the environment
variable that cosign reads; the registry password is passed in a file with mode 0600.
"""

import base64
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.core.console import step
from harness.core.errors import EnvironmentMissingError
from harness.core.process import run
from harness.core.temporary import temporary_directory
from harness.registry import Credentials

KEY = "COSIGN_PRIVATE_KEY"
PASSWORD = "COSIGN_PASSWORD"
ISSUER = "https://token.actions.githubusercontent.com"
_IDENTITY = "ACTIONS_ID_TOKEN_REQUEST_URL"
_KEY_REFERENCE = f"env://{KEY}"
INSTALL = "https://docs.sigstore.dev/cosign/system_config/installation/"


@dataclass(frozen=True, kw_only=True)
class Signer:
    """How a release is signed, or why it is not."""

    how: str  # "key", "keyless" or ""
    why_not: str = ""
    offline: bool = False  # no transparency log: for registries on loopback
    identity: str = ""  # of the certificate of a keyless signature

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
        if shutil.which("cosign") is None:
            raise EnvironmentMissingError(
                f"{KEY if how == 'key' else _IDENTITY} is set, but cosign is not installed:"
                f" install it ({INSTALL}), or publish without a signature with --unsigned"
            )
        return cls(how=how, offline=offline, identity=_identity(environ) if how != "key" else "")

    def sign(
        self, name: str, credentials: Credentials | None, ca: Path | None, *, signed: bool = False
    ) -> str:
        """Sign the image `name`, a reference by digest, and verify the signature in the registry.

        If it is already `signed`, by the run that is resumed, the signature is only verified.
        Returns a summary for people; raises `CommandError` if cosign fails.
        """
        if not self.how:
            return f"not signed: {self.why_not}"
        with step(f"signing {name}"), _docker_config(name, credentials) as environ:
            command = ["cosign", "sign", "--yes", *_trust(ca)]
            if self.how == "key":
                command += ["--key", _KEY_REFERENCE, f"--tlog-upload={_word(not self.offline)}"]
            if not signed:
                run([*command, name], environ=environ)
            self._verify(name, ca, environ)
        log = "" if self.offline else ", recorded in the transparency log"
        return f"signed with {'a key' if self.how == 'key' else 'the identity of the job'}{log}"

    def _verify(self, name: str, ca: Path | None, environ: Mapping[str, str]) -> None:
        """Verify the signature in the registry, with the key or by the identity."""
        if self.how != "key":
            verify = ["cosign", "verify", *verify_identity(self.identity), *_trust(ca), name]
            run(verify, environ=environ)
            return
        public = run(["cosign", "public-key", "--key", _KEY_REFERENCE], environ=environ)
        with tempfile.NamedTemporaryFile("w", suffix=".pub", encoding="utf-8") as file:
            file.write(public)
            file.flush()
            command = ["cosign", "verify", "--key", file.name, *_trust(ca)]
            if self.offline:
                command.append("--insecure-ignore-tlog=true")
            run([*command, name], environ=environ)


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


def _word(value: bool) -> str:  # noqa: FBT001
    return "true" if value else "false"


def _trust(ca: Path | None) -> list[str]:
    return ["--registry-cacert", str(ca)] if ca else []


@contextmanager
def _docker_config(name: str, credentials: Credentials | None) -> Iterator[dict[str, str]]:
    """Yield an environment with the registry credentials; argv is readable by every user."""
    environ = {PASSWORD: os.environ.get(PASSWORD, "")}
    if credentials is None or credentials.identity_token:
        yield environ
        return
    with temporary_directory("sign") as directory:
        pair = f"{credentials.username}:{credentials.secret.reveal()}"
        auth = base64.b64encode(pair.encode()).decode()
        path = directory / "config.json"
        path.touch(mode=0o600)
        host = name.partition("/")[0]
        path.write_text(json.dumps({"auths": {host: {"auth": auth}}}), encoding="utf-8")
        yield {**environ, "DOCKER_CONFIG": str(directory)}
