"""Signing with cosign: its arguments, and no secrets on its command line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from harness.core.errors import CommandError, EnvironmentMissingError
from harness.publish.sign import Signer
from harness.registry import Credentials, Secret

HELD = Credentials(username="bob", secret=Secret("s3cret-password"), source="test")
NAME = f"127.0.0.1:5000/owner/image@sha256:{'a' * 64}"
WORKFLOW = "owner/image/.github/workflows/docker-publish.yml@refs/tags/v1.2.3"
COSIGN = """#!/bin/sh
printf '%s\\n' "$*" >>"$COSIGN_LOG"
[ "$1" = sign ] && cat "$DOCKER_CONFIG/config.json" >"$COSIGN_LOG.config"
[ "$1" = public-key ] && echo PUBLIC
[ "$1" = "$COSIGN_BREAKS" ] && { echo "no: $1" >&2; exit 1; }
exit 0
"""


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fake cosign that records its arguments; returns the file it writes."""
    program = tmp_path / "cosign"
    program.write_text(COSIGN, encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("COSIGN_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("COSIGN_BREAKS", "")
    monkeypatch.setenv("COSIGN_PRIVATE_KEY", "the-private-key")
    monkeypatch.setenv("COSIGN_PASSWORD", "the-key's-password")
    return tmp_path / "log"


def test_key_signs_and_the_signature_is_verified(log: Path) -> None:
    """The image is signed by digest with the key, then verified; argv contains no secret."""
    signer = Signer.from_environ(os.environ, offline=True)
    assert signer.sign(NAME, HELD, Path("ca.pem")) == "signed with a key"
    asked = log.read_text(encoding="utf-8")
    assert [line.split()[0] for line in asked.splitlines()] == ["sign", "public-key", "verify"]
    assert "--key env://COSIGN_PRIVATE_KEY --tlog-upload=false" in asked
    assert asked.count("--registry-cacert ca.pem") == 2
    assert asked.count(NAME) == 2
    for secret in ("s3cret", "the-private-key", "the-key's-password"):
        assert secret not in asked
    config = json.loads(Path(f"{log}.config").read_bytes())
    assert list(config["auths"]) == ["127.0.0.1:5000"]


def test_signature_of_the_resumed_run_is_only_verified(log: Path) -> None:
    """No second signature is made, and the first is not taken on trust."""
    signer = Signer.from_environ(os.environ, offline=True)
    assert signer.sign(NAME, HELD, None, signed=True) == "signed with a key"
    asked = log.read_text(encoding="utf-8").splitlines()
    assert [line.split()[0] for line in asked] == ["public-key", "verify"]


@pytest.mark.parametrize("step", ["sign", "verify"])
def test_failure_of_cosign_is_one(log: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed signature and a failed verification are both errors."""
    monkeypatch.setenv("COSIGN_BREAKS", step)
    with pytest.raises(CommandError, match=f"no: {step}") as caught:
        Signer.from_environ(os.environ, offline=False).sign(NAME, HELD, None)
    assert "s3cret" not in str(caught.value)


def test_identity_of_the_job_signs(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key, on GitHub Actions, the signature is keyless and in the log."""
    environ = {"ACTIONS_ID_TOKEN_REQUEST_URL": "https://x", "GITHUB_WORKFLOW_REF": WORKFLOW}
    said = Signer.from_environ(environ, offline=False).sign(NAME, HELD, None)
    assert said == "signed with the identity of the job, recorded in the transparency log"
    sign, verify = log.read_text(encoding="utf-8").splitlines()
    assert sign == f"sign --yes {NAME}"
    assert verify.startswith("verify --certificate-oidc-issuer https://token.actions.")
    assert verify.endswith(f"docker-publish\\.yml@refs/tags/v1\\.2\\.3$ {NAME}")
    monkeypatch.setenv("COSIGN_BREAKS", "verify")
    with pytest.raises(CommandError, match="no: verify"):
        Signer.from_environ(environ, offline=False).sign(NAME, HELD, None)


@pytest.mark.parametrize(
    ("environ", "offline"),
    [
        pytest.param({"COSIGN_PRIVATE_KEY": "x"}, True, id="key-here"),
        pytest.param({"COSIGN_PRIVATE_KEY": "x"}, False, id="key"),
        pytest.param({"ACTIONS_ID_TOKEN_REQUEST_URL": "x"}, False, id="identity"),
    ],
)
def test_key_or_identity_without_cosign_is_an_error(
    environ: dict[str, str], offline: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What can be signed is not published unsigned, unless that is asked for."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentMissingError, match=r"cosign is not installed.*--unsigned"):
        Signer.from_environ(environ, offline=offline)
    signer = Signer.from_environ(environ, offline=offline, unsigned=True)
    assert signer.sign(NAME, None, None) == "not signed: --unsigned was given"


def test_identity_that_is_unknown_is_an_error(log: Path) -> None:
    """Without the workflow's reference nobody could be told what to verify."""
    with pytest.raises(EnvironmentMissingError, match="GITHUB_WORKFLOW_REF is not"):
        Signer.from_environ({"ACTIONS_ID_TOKEN_REQUEST_URL": "x"}, offline=False)


def test_nothing_to_sign_with_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without key and identity the release is unsigned and says why."""
    monkeypatch.setenv("PATH", str(tmp_path))
    unsigned = Signer.from_environ({}, offline=False).sign(NAME, None, None)
    assert unsigned == (
        "not signed: neither COSIGN_PRIVATE_KEY nor a GitHub Actions identity is set"
    )
