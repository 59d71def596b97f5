"""The registry client against a misbehaving registry."""

from __future__ import annotations

import io
import logging
import random
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from harness.core import console
from harness.core.errors import RegistryError, UsageError
from harness.oci import Descriptor, MediaType
from harness.registry import (
    Artifact,
    Credentials,
    DeniedError,
    RegistryClient,
    Repository,
    RetryPolicy,
    Secret,
    Transport,
    UnreachableError,
    attach,
    referrers,
)
from harness.registry import transport as transport_module
from harness.registry.transport import retry_after

from .fake_registry import BASIC, PASSWORD, USER, FakeRegistry, Fault, fake_registry

QUICK = RetryPolicy(attempts=4, pause=0.001, longest_pause=2, reads=4)
HELD = Credentials(username=USER, secret=Secret(PASSWORD), source="test")
BLOB = random.Random(7).randbytes(700_000)


@contextmanager
def client_of(
    registry: FakeRegistry, credentials: Credentials | None = HELD
) -> Iterator[RegistryClient]:
    repository = Repository.from_names(registry.url, "owner/image")
    with RegistryClient(Transport(repository, credentials, policy=QUICK)) as client:
        yield client


@pytest.fixture
def blob(tmp_path: Path) -> tuple[Descriptor, Path]:
    """A blob larger than one read."""
    path = tmp_path / "blob"
    path.write_bytes(BLOB)
    return Descriptor.of(BLOB, MediaType.LAYER), path


@pytest.mark.parametrize("auth", ["", "basic", "bearer"])
def test_blob_is_pushed_once_and_read_back(auth: str, blob: tuple[Descriptor, Path]) -> None:
    """With any authorization: sent once, skipped if present, and read back by digest."""
    with fake_registry(auth=auth) as registry, client_of(registry) as client:
        assert client.push_blob(*blob)
        assert not client.push_blob(*blob)
        client.check_blob(blob[0])
        assert registry.received == len(BLOB)
        assert registry.blobs == {blob[0].digest: BLOB}
        assert registry.asked("/token") == (auth == "bearer")


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(r"PATCH", status=500), id="500"),
        pytest.param(Fault(r"PATCH", status=503), id="503"),
        pytest.param(Fault(r"PATCH", status=429, headers={"Retry-After": "0"}), id="429"),
        pytest.param(Fault(r"POST .*uploads", status=502), id="502-at-the-start"),
        pytest.param(Fault(r"POST .*uploads", reset_after=0), id="reset-at-the-start"),
        pytest.param(Fault(r"PUT .*uploads", status=500), id="500-at-the-end"),
        pytest.param(Fault(r"PUT .*uploads", lose=True), id="answer-to-the-end-lost"),
        pytest.param(Fault(r"PUT .*uploads", status=400), id="digest-refused"),
        pytest.param(Fault(r"PATCH", status=404), id="upload-forgotten"),
        pytest.param(Fault(r"PATCH", status=416), id="range-refused"),
        pytest.param(Fault(r"PATCH", reset_after=0), id="reset-before-the-first-byte"),
        pytest.param(Fault(r"PATCH", lose=True), id="answer-to-the-bytes-lost"),
        pytest.param(Fault(r"HEAD .*blobs", status=504), id="504-when-asked"),
        pytest.param(Fault(r"PATCH", expire=True), id="token-expires-before-the-bytes"),
        pytest.param(Fault(r"PUT", expire=True), id="token-expires-before-the-end"),
        pytest.param(Fault(r"/token", status=500), id="token-server-500"),
    ],
)
def test_what_can_pass_passes(fault: Fault, blob: tuple[Descriptor, Path]) -> None:
    """One transient failure anywhere in an upload: the blob arrives intact."""
    with fake_registry(auth="bearer") as registry, client_of(registry) as client:
        registry.faults = [fault]
        assert client.push_blob(*blob)
        assert registry.blobs == {blob[0].digest: BLOB}
        assert fault.times == 0, "the fault was never met"


def test_interrupted_upload_starts_again(blob: tuple[Descriptor, Path]) -> None:
    """After each break a new upload sends all bytes; no old one is continued with a range."""
    with fake_registry() as registry, client_of(registry) as client:
        registry.faults = [
            Fault("PATCH", reset_after=300_000),
            Fault("PATCH", reset_after=200_000),
        ]
        told: list[int] = []
        client.push_blob(*blob, on_bytes=told.append)
        assert registry.blobs == {blob[0].digest: BLOB}
        assert registry.asked("POST .*uploads") == 3
        assert registry.asked("GET .*uploads") == 0, "ghcr.io cannot continue an upload"
        assert registry.ranges == []
        assert sum(told) == len(BLOB), "the progress adds up to the blob"


def test_upload_whose_answer_was_lost_is_not_sent_again(blob: tuple[Descriptor, Path]) -> None:
    """The registry has the blob, only its answer broke: it is asked before anything is sent."""
    with fake_registry() as registry, client_of(registry) as client:
        registry.faults = [Fault("PUT .*uploads", lose=True)]
        client.push_blob(*blob)
        assert registry.received == len(BLOB)


@pytest.mark.parametrize("status", [401, 403, 404, 405])
def test_definite_no_is_not_tried_again(status: int, blob: tuple[Descriptor, Path]) -> None:
    """A refusal ends the push immediately; the message names the user and the fix."""
    with fake_registry() as registry, client_of(registry) as client:
        registry.faults = [Fault("POST", status=status, times=99)]
        with pytest.raises(RegistryError, match=f"HTTP {status}") as caught:
            client.push_blob(*blob)
        assert registry.asked("POST") == 1
        if status in {401, 403}:
            assert isinstance(caught.value, DeniedError)
            assert f"sent as {USER} (test); log in" in str(caught.value)


def test_wrong_password_is_tried_once(blob: tuple[Descriptor, Path]) -> None:
    """The token server refuses: one request, then an error without the password."""
    wrong = Credentials(username=USER, secret=Secret("wrong-secret"), source="test")
    with fake_registry(auth="bearer") as registry, client_of(registry, wrong) as client:
        with pytest.raises(DeniedError) as caught:
            client.push_blob(*blob)
        assert registry.asked("/token") == 1
        assert "wrong-secret" not in str(caught.value)


def test_attempts_are_bounded(blob: tuple[Descriptor, Path]) -> None:
    """A registry that keeps failing ends in an error with the number of attempts."""
    with fake_registry() as registry, client_of(registry) as client:
        registry.faults = [Fault("PATCH", status=500, times=99)]
        with pytest.raises(RegistryError, match=r"HTTP 500.*\n.*gave up after 4 attempts"):
            client.push_blob(*blob)
        assert registry.asked("PATCH") == QUICK.attempts


def test_nobody_there_is_said_and_not_for_long(blob: tuple[Descriptor, Path]) -> None:
    """If nothing listens on the port, the message names the host."""
    repository = Repository.from_names("http://127.0.0.1:1", "owner/image")
    with (
        RegistryClient(Transport(repository, policy=QUICK)) as client,
        pytest.raises(UnreachableError, match=r"cannot reach 127\.0\.0\.1:1 "),
    ):
        client.push_blob(*blob)


def test_retry_after_is_honoured(blob: tuple[Descriptor, Path]) -> None:
    """The pause is the registry's Retry-After, even if the default is shorter."""
    with fake_registry() as registry, client_of(registry) as client:
        registry.faults = [Fault("HEAD", status=429, headers={"Retry-After": "1"})]
        began = time.monotonic()
        client.has_blob(blob[0])
        assert time.monotonic() - began >= 1


def test_retry_after_is_bounded(blob: tuple[Descriptor, Path]) -> None:
    """A Retry-After of an hour is an error that states the time."""
    with fake_registry() as registry, client_of(registry) as client:
        registry.faults = [Fault("HEAD", status=429, headers={"Retry-After": "3600"})]
        with pytest.raises(RegistryError, match="retry after 3600 s"):
            client.has_blob(blob[0])
        assert registry.asked("HEAD") == 1


def test_retry_after_can_be_a_date() -> None:
    """Both forms of the header are parsed; garbage means no pause."""
    assert retry_after("7") == 7
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert retry_after("Fri, 31 Dec 2100 23:59:59 GMT") > 1e9
    assert retry_after("soon") == retry_after("") == 0


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault("GET .*blobs/sha256", lie=True), id="other-digest-in-the-header"),
        pytest.param(Fault("GET .*blobs/sha256", corrupt=True), id="other-bytes"),
    ],
)
def test_lie_about_a_blob_is_found(fault: Fault, blob: tuple[Descriptor, Path]) -> None:
    """Wrong content from the registry is detected when it is read back."""
    with fake_registry() as registry, client_of(registry) as client:
        client.push_blob(*blob)
        registry.faults = [fault]
        with pytest.raises(RegistryError, match="the content is not what was pushed"):
            client.check_blob(blob[0])


def test_blob_of_another_size_is_not_taken_for_ours(blob: tuple[Descriptor, Path]) -> None:
    """An existing blob of a different size is rejected."""
    with fake_registry() as registry, client_of(registry) as client:
        registry.blobs[blob[0].digest] = b"short"
        with pytest.raises(RegistryError, match="reports 5 bytes"):
            client.push_blob(*blob)


def test_answer_that_breaks_off_is_read_again(blob: tuple[Descriptor, Path]) -> None:
    """Half a blob, then a reset: it is read again, and progress is not counted twice."""
    with fake_registry() as registry, client_of(registry) as client:
        client.push_blob(*blob)
        registry.faults = [Fault("GET .*blobs/sha256", truncate=True)]
        client.check_blob(blob[0])
        assert registry.asked("GET .*blobs/sha256") == 2


def push_and_read(client: RegistryClient) -> None:
    client.push_manifest(b'{"layers":[]}', MediaType.MANIFEST)
    client.manifest(Descriptor.of(b'{"layers":[]}', "").digest)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault("PUT .*manifests", lie=True), id="other-digest-after-the-push"),
        pytest.param(Fault("GET .*manifests", lie=True), id="other-digest-when-read"),
        pytest.param(Fault("GET .*manifests", corrupt=True), id="other-bytes-when-read"),
        pytest.param(Fault("GET .*manifests", corrupt=True, bare=True), id="no-digest-to-compare"),
    ],
)
def test_lie_about_a_manifest_is_found(fault: Fault) -> None:
    """A wrong digest after the push, or wrong bytes when read back, is an error."""
    with fake_registry() as registry, client_of(registry) as client:
        registry.faults = [fault]
        with pytest.raises(RegistryError, match="not what was pushed"):
            push_and_read(client)


def test_tags_are_read_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list continues at the URL in the `Link` header, on the same host only."""
    with fake_registry() as registry, client_of(registry) as client:
        assert client.tags() == ()
        client.push_manifest(b'{"layers":[]}', MediaType.MANIFEST, "v1.0.0")
        assert client.tags() == ("v1.0.0",)
        assert client.tag_digest("v1.0.0") == Descriptor.of(b'{"layers":[]}', "").digest
        assert client.tag_digest("v2.0.0") is None
        link = {"Link": '<http://example.invalid/v2/x/tags/list>; rel="next"'}
        registry.faults = [Fault("GET .*tags", status=200, headers=link)]
        with pytest.raises(RegistryError, match="on another host"):
            client.tags()


@pytest.mark.parametrize("api", [True, False])
def test_artifacts_are_listed_for_their_subject(api: bool, tmp_path: Path) -> None:
    """With and without the referrers API, two artifacts are found, once each."""
    with fake_registry(referrers_api=api) as registry, client_of(registry) as client:
        subject = Descriptor.of(b'{"layers":[]}', MediaType.MANIFEST)
        client.push_manifest(b'{"layers":[]}', MediaType.MANIFEST)
        for name in ("sbom", "proof", "sbom"):
            path = tmp_path / name
            path.write_text(name, encoding="utf-8")
            content = Descriptor.of(name.encode(), f"application/{name}")
            kind = f"application/vnd.test.{name}"
            made = Artifact(path=path, content=content, artifact_type=kind, subject=subject)
            attach(client, [made])
        found = referrers(client, subject.digest)
        assert [f.artifact_type for f in found] == [
            "application/vnd.test.sbom",
            "application/vnd.test.proof",
        ]
        assert bool(registry.tags) is not api
        assert registry.half == []


def test_upload_to_another_host_is_refused(
    blob: tuple[Descriptor, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload redirect to another host, which would get our token, is refused."""
    with fake_registry() as registry, client_of(registry) as client:
        elsewhere = {"Location": "https://example.invalid/upload?_state=x"}
        registry.faults = [Fault("POST", status=202, headers=elsewhere)]
        with pytest.raises(
            RegistryError, match=r"upload to another host, https://example\.invalid"
        ):
            client.push_blob(*blob)


def test_token_server_without_tls_gets_no_password(blob: tuple[Descriptor, Path]) -> None:
    """A token server with plain HTTP on another machine gets no password."""
    with fake_registry() as registry, client_of(registry) as client:
        challenge = {"WWW-Authenticate": 'Bearer realm="http://example.invalid/token"'}
        registry.faults = [Fault("HEAD", status=401, headers=challenge)]
        with pytest.raises(RegistryError, match="token server without TLS"):
            client.has_blob(blob[0])


@pytest.mark.parametrize("auth", ["basic", "bearer"])
@pytest.mark.parametrize("status", [500, 403, 429])
def test_secrets_are_in_no_log_and_no_exception(  # noqa: PLR0917 (fixtures)
    auth: str,
    status: int,
    blob: tuple[Descriptor, Path],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No output at the highest verbosity, including libraries', contains a secret."""
    caplog.set_level(logging.DEBUG)
    said = io.StringIO()
    monkeypatch.setattr(console.stderr, "_file", said)
    monkeypatch.setitem(console._state, "verbose", True)
    with fake_registry(auth=auth) as registry, client_of(registry) as client:
        client.has_blob(blob[0])
        registry.faults = [Fault("PATCH", status=status, times=99)]
        with pytest.raises(RegistryError) as caught:
            client.push_blob(*blob)
        told = "".join(traceback.format_exception(caught.value))
        assert "opaque" not in told + said.getvalue(), "the state of an upload is not told"
        told += caplog.text + said.getvalue() + "".join(capfd.readouterr())
        told += repr(client.transport.auth.credentials) + repr(vars(client.transport.auth))
        assert "failed to order" in told, "the registry's own words are there"
        assert f"HTTP {status}" in told
        for secret in (PASSWORD, BASIC.partition(" ")[2], *registry.tokens):
            assert secret not in told


def test_certificate_that_is_not_trusted_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """An untrusted certificate is a definite error: one attempt, and the option that fixes it."""
    calls: list[Any] = []

    def refuse(*_: Any, **__: Any) -> None:
        calls.append(1)
        raise requests.exceptions.SSLError("certificate verify failed: self-signed")

    repository = Repository.from_names("127.0.0.1:1", "owner/image")
    transport = Transport(repository, policy=QUICK)
    monkeypatch.setattr(transport._session, "request", refuse)
    with pytest.raises(RegistryError, match="--registry-ca"):
        transport.request("GET", repository.url, expect={200})
    assert len(calls) == 1
    assert transport_module.bare("https://x/y?_state=z") == "https://x/y"


@pytest.mark.parametrize(
    ("registry", "name", "message"),
    [
        pytest.param("http://example.invalid", "a/b", "without TLS", id="no-tls"),
        pytest.param("ftp://127.0.0.1", "a/b", "not a registry", id="scheme"),
        pytest.param("user@127.0.0.1", "a/b", "not a registry", id="user-in-host"),
        pytest.param("ghcr.io/owner", "a/b", "not a registry", id="path-in-host"),
        pytest.param("ghcr.io", "Owner/image", "not a repository", id="upper-case"),
        pytest.param("ghcr.io", "owner/../image", "not a repository", id="dots"),
    ],
)
def test_names_are_checked(registry: str, name: str, message: str) -> None:
    """An invalid registry or repository name is refused before any request."""
    with pytest.raises(UsageError, match=message):
        Repository.from_names(registry, name)
