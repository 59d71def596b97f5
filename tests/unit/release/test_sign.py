"""Signing with cosign: what each major version is asked, and which versions work."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import CommandError, EnvironmentMissingError, RegistryError
from harness.oci import Descriptor, MediaType, canonical_json
from harness.publish.cosign import Cosign, accepted, find_cosign, tool, version_of
from harness.publish.sign import PUBLIC_KEY, Signer
from harness.publish.statements import SIGNATURE, Statement, payload_of
from harness.registry import Repository

from .fake_cosign import FakeSigner, signer_of

INDEX = Descriptor.of(b"{}", MediaType.INDEX)
WORKFLOW = "owner/image/.github/workflows/docker-publish.yml@refs/tags/v1.2.3"
IDENTITY = f"https://github.com/{WORKFLOW}"
STATEMENT = Statement(
    name="signature",
    predicate_type=SIGNATURE,
    subjects=(INDEX,),
    content=canonical_json({"predicateType": SIGNATURE, "subject": [], "predicate": {}}),
)


def cosign_on_path(directory: Path, version: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program on PATH that reports `version`, and nothing else, Go included."""
    program = directory / "cosign"
    told = json.dumps({"gitVersion": version})
    program.write_text(f"#!/bin/sh\necho '{told}'\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(directory))
    monkeypatch.setenv("XDG_CACHE_HOME", str(directory / "cache"))


def signed(signer: FakeSigner, directory: Path) -> list[str]:
    """Sign with `signer`; return its commands as text."""
    signer.sign([STATEMENT], directory, resumed=False)
    return [" ".join(command) for command in signer.cosign.log]


@pytest.mark.parametrize(
    ("version", "how", "offline", "options"),
    [
        pytest.param(
            (2, 6),
            "key",
            True,
            "--key env://COSIGN_PRIVATE_KEY --new-bundle-format --tlog-upload=false",
            id="2-key-offline",
        ),
        pytest.param(
            (2, 6), "key", False, "--key env://COSIGN_PRIVATE_KEY --new-bundle-format", id="2-key"
        ),
        pytest.param((2, 6), "keyless", False, "--new-bundle-format", id="2-keyless"),
        pytest.param(
            (3, 1),
            "key",
            True,
            "--key env://COSIGN_PRIVATE_KEY --signing-config no-services.json"
            " --trusted-root no-roots.json",
            id="3-key-offline",
        ),
        pytest.param((3, 1), "key", False, "--key env://COSIGN_PRIVATE_KEY", id="3-key"),
        pytest.param((3, 1), "keyless", False, "", id="3-keyless"),
    ],
)
def test_each_major_version_gets_its_options(
    version: tuple[int, int], how: str, offline: bool, options: str, tmp_path: Path
) -> None:
    """cosign 3 refuses --tlog-upload=false with its signing config; cosign 2 needs the format."""
    signer = replace(signer_of(None, version), how=how, offline=offline)
    asked = next(line for line in signed(signer, tmp_path) if "attest-blob" in line)
    assert asked.partition(" --statement ")[0] == f"cosign attest-blob --yes {options}".rstrip()


@pytest.mark.parametrize("version", [(2, 6), (3, 1)])
def test_printed_commands_fit_the_version(version: tuple[int, int]) -> None:
    """Every command has the digest, the key and, on loopback, the registry's CA."""
    commands = signer_of(None, version).commands("127.0.0.1:5/a/b@sha256:c", Path("/ca.pem"))
    assert [command[1] for command in commands] == ["verify"] + ["verify-attestation"] * 3
    for command in commands:
        text = " ".join(command)
        assert f"--key {PUBLIC_KEY} --registry-cacert /ca.pem" in text
        assert ("--new-bundle-format --trusted-root no-roots.json" in text) == (version[0] == 2)
        assert text.endswith("--insecure-ignore-tlog 127.0.0.1:5/a/b@sha256:c")


def test_identity_of_the_job_signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key, on GitHub Actions, the signature is keyless and in the log."""
    cosign_on_path(tmp_path, "v3.1.3", monkeypatch)
    environ = {"ACTIONS_ID_TOKEN_REQUEST_URL": "https://x", "GITHUB_WORKFLOW_REF": WORKFLOW}
    signer = Signer.from_environ(environ, offline=False)
    said = "signed with the identity of the job, recorded in the transparency log"
    assert (signer.how, signer.identity, signer.summary) == ("keyless", IDENTITY, said)
    verify = " ".join(signer.commands("NAME", None)[0])
    assert verify.startswith("cosign verify --certificate-oidc-issuer https://token.actions.")
    assert verify.endswith("docker-publish\\.yml@refs/tags/v1\\.2\\.3$ NAME")


def test_bundle_of_another_statement_is_not_taken(tmp_path: Path) -> None:
    """A cosign that signs something else than it was given is an error, and nothing is kept."""
    signer = signer_of(None)

    class Other(type(signer.cosign)):  # type: ignore[misc]
        def run(self, command: list[str], **_: object) -> str:
            if command[1] == "attest-blob":
                bundle = Path(command[command.index("--bundle") + 1])
                bundle.write_text('{"dsseEnvelope": {"payload": "e30="}}')
            return ""

    broken = replace(signer, cosign=Other(path=Path("cosign"), version=(3, 1)))
    with pytest.raises(EnvironmentMissingError, match="signed something else than signature"):
        broken.sign([STATEMENT], tmp_path, resumed=False)
    assert not (tmp_path / "signature.sigstore.json").exists()


def test_failure_of_cosign_is_one(tmp_path: Path) -> None:
    """A signature that cannot be made is an error without secrets."""
    signer = signer_of(None)
    broken = replace(signer, cosign=replace(signer.cosign, breaks="attest-blob"))
    with pytest.raises(CommandError, match="no: attest-blob"):
        broken.sign([STATEMENT], tmp_path, resumed=False)


@pytest.mark.parametrize(
    ("version", "works"),
    [
        *(("v3.1.3", True), ("v3.0.0", True), ("v2.6.5", True), ("2.6.0", True)),
        *(("v2.5.3", False), ("v1.13.6", False), ("v4.0.0", False)),
    ],
)
def test_versions_of_cosign(
    version: str, works: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two major versions work, from the first with bundles on; another one is not used."""
    cosign_on_path(tmp_path, version, monkeypatch)
    assert accepted(version_of(tmp_path / "cosign")) is works
    if works:
        assert find_cosign().path == tmp_path / "cosign"
    else:
        with pytest.raises(EnvironmentMissingError, match=r"nor is Go to compile.*--unsigned"):
            find_cosign()


@pytest.mark.parametrize("version", ["devel", "", 3, None, ["3", "1"]])
def test_cosign_without_a_version_is_refused(
    version: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that only has the name is not trusted with a key."""
    cosign_on_path(tmp_path, version, monkeypatch)
    with pytest.raises(EnvironmentMissingError, match="reports no version of cosign"):
        find_cosign()


class Answering(Cosign):
    """A cosign that answers every verification with `answer`."""

    answer = ""

    def run(self, *_: object, **__: object) -> str:
        return self.answer


@pytest.mark.parametrize(
    "answer",
    [
        *("", "<html>", "[" * 9999, "{}", "[1]", "[{}]", '[{"critical": []}]', '[{"critical": 1}]'),
        *('[{"critical": {"type": 5}}]', '[{"critical": {"type": "another"}}]'),
    ],
)
def test_verification_in_another_form_is_none(
    answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cosign that does not list the signature has not verified it."""
    monkeypatch.setattr(Answering, "answer", answer)
    cosign = Answering(path=Path("cosign"), version=(3, 1))
    signer = Signer(how="key", offline=True, cosign=cosign)
    repository = Repository.from_names("127.0.0.1:5000", "owner/image")
    with pytest.raises(RegistryError, match="does not have every statement"):
        signer.verify([STATEMENT], repository, tmp_path, None, None)
    monkeypatch.setattr(Answering, "answer", json.dumps([{"critical": {"type": SIGNATURE}}]))
    signer.verify([STATEMENT], repository, tmp_path, None, None)


@pytest.mark.parametrize(
    "bundle", ["", "[]", "{}", '{"dsseEnvelope": []}', '{"dsseEnvelope": {"payload": 5}}']
)
def test_bundle_in_another_form_has_no_payload(bundle: str, tmp_path: Path) -> None:
    """A resumed run makes such a bundle again."""
    path = tmp_path / "bundle.json"
    path.write_text(bundle, encoding="utf-8")
    assert payload_of(path) is None
    assert not any(STATEMENT.is_in(payload) for payload in (None, "", "%", "e30="))


def test_pinned_cosign_is_a_module_of_its_major_version() -> None:
    """The path of a Go module has the major version, https://go.dev/ref/mod#major-version-suffixes."""
    assert tool("2.6.5").package == "github.com/sigstore/cosign/v2/cmd/cosign"
    assert tool().package == "github.com/sigstore/cosign/v3/cmd/cosign"


@pytest.mark.parametrize(
    ("environ", "offline"),
    [
        pytest.param({"COSIGN_PRIVATE_KEY": "x"}, True, id="key-here"),
        pytest.param({"COSIGN_PRIVATE_KEY": "x"}, False, id="key"),
        pytest.param(
            {"ACTIONS_ID_TOKEN_REQUEST_URL": "x", "GITHUB_WORKFLOW_REF": WORKFLOW},
            False,
            id="identity",
        ),
    ],
)
def test_key_or_identity_without_cosign_is_an_error(
    environ: dict[str, str], offline: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What can be signed is not published unsigned, unless that is asked for."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(EnvironmentMissingError, match=r"cosign is not installed.*--unsigned"):
        Signer.from_environ(environ, offline=offline)
    signer = Signer.from_environ(environ, offline=offline, unsigned=True)
    assert signer.summary == "not signed: --unsigned was given"


def test_identity_that_is_unknown_is_an_error() -> None:
    """Without the workflow's reference nobody could be told what to verify."""
    with pytest.raises(EnvironmentMissingError, match="GITHUB_WORKFLOW_REF is not"):
        Signer.from_environ({"ACTIONS_ID_TOKEN_REQUEST_URL": "x"}, offline=False)


def test_nothing_to_sign_with_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without key and identity the release is unsigned and says why."""
    monkeypatch.setenv("PATH", str(tmp_path))
    unsigned = Signer.from_environ({}, offline=False)
    assert unsigned.summary == (
        "not signed: neither COSIGN_PRIVATE_KEY nor a GitHub Actions identity is set"
    )
    assert unsigned.sign([STATEMENT], tmp_path, resumed=False) == {}
    assert list(tmp_path.iterdir()) == []
