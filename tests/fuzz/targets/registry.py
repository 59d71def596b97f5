"""Untrusted input from a registry, its token server and Docker's configuration."""

from __future__ import annotations

import base64
import io
import itertools
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import requests

from harness.core.errors import CommandError, HarnessError, RegistryError
from harness.oci.descriptor import Descriptor, sha256
from harness.registry import (
    Credentials,
    RegistryClient,
    Repository,
    RetryPolicy,
    Secret,
    Transport,
    credentials,
    find_credentials,
    referrers,
)
from harness.registry.auth import Authorizer, Challenge
from harness.registry.reference import check_tag, is_loopback
from tests.fuzz.targets.target import Target, parts_of

PASSWORD = "correct-horse-battery"
HELD = Credentials(username="releaser", secret=Secret(PASSWORD), source="test")
BLOB = b"the blob"
_scratch = tempfile.TemporaryDirectory(prefix="fuzz-registry-")
_directory = Path(_scratch.name)
(_directory / "blob").write_bytes(BLOB)


def reference(data: bytes) -> None:
    """An accepted name leads to that host and repository, over TLS unless it is on loopback."""
    registry, name, tag = (part.decode("utf-8", "replace") for part in parts_of(data, 3))
    try:
        repository = Repository.from_names(registry, name)
        check_tag(tag)
    except HarnessError:
        return
    url = urlsplit(requests.Request("GET", f"{repository.url}/manifests/{tag}").prepare().url or "")
    assert url.path == f"/v2/{name}/manifests/{tag}"
    assert not (url.username or url.password or url.query or url.fragment)
    assert url.scheme == "https" or is_loopback(url.netloc)
    assert (url.hostname or "") == (urlsplit(f"x://{repository.host}").hostname or "").lower()


def token(data: bytes) -> None:
    """A challenge gives a sendable header or an error; the password goes only to allowed hosts."""
    header, body = parts_of(data, 2)
    challenge = Challenge.from_header(header.decode("latin-1"))
    if challenge is None:
        return
    authorizer = Authorizer(HELD, "repository:owner/image:pull")

    def fetch(_method: str, url: str, **_options: Any) -> requests.Response:
        assert url.startswith("https://") or is_loopback(urlsplit(url).netloc), url
        return _answer(url, 200, {}, body)

    try:
        authorizer.answer(challenge, fetch)
        sent = authorizer.header(fetch)
    except RegistryError as error:
        assert PASSWORD not in str(error)
        return
    assert sent is not None
    assert sent.reveal().isascii() and sent.reveal().isprintable()
    assert sent.reveal() not in authorizer.redact(f"you sent {sent.reveal()}")


def docker_config(data: bytes) -> None:
    """A configuration gives a sendable name and secret, nothing, or an error message."""
    config, answer = parts_of(data, 2)
    (_directory / "config.json").write_bytes(config)

    def helper(_command: list[str], **_options: Any) -> str:
        if not answer:
            raise CommandError("credentials not found")
        return answer.decode("utf-8", "replace")

    try:
        with mock.patch.object(credentials, "run", helper):
            found = find_credentials("ghcr.io", {"DOCKER_CONFIG": str(_directory)})
    except HarnessError:
        return
    if found is not None:
        sent = base64.b64decode(found.basic.reveal().removeprefix("Basic ")).decode()
        assert sent == f"{found.username}:{found.secret.reveal()}"


def _answer(url: str, status: int, headers: dict[str, str], body: bytes) -> requests.Response:
    answer = requests.Response()
    answer.status_code, answer.url, answer._content = status, url, body
    answer.raw = io.BytesIO()
    answer.headers.update(headers)
    return answer


class _Session(requests.Session):
    """Returns the drawn responses, then repeats the last one."""

    def __init__(self, planned: list[bytes]) -> None:
        super().__init__()
        self._planned = itertools.chain(planned, itertools.repeat(planned[-1]))
        self.sent = 0

    def request(self, method: str, url: str, **options: Any) -> requests.Response:  # type: ignore[override]
        self.sent += 1
        assert self.sent < 2000, "the client does not stop"
        self.prepare_request(requests.Request(method, url, headers=options.get("headers")))
        head, _, body = next(self._planned).partition(b"\n\n")
        status, *lines = head.decode("latin-1").split("\n")
        headers = dict(line.split(": ", 1) for line in lines if ": " in line)
        code = int(status) if status.isascii() and status.isdecimal() and len(status) == 3 else 200
        return _answer(url, code, headers, body.replace(b"@blob", BLOB))


def answers(data: bytes) -> None:
    """For any responses, the client returns data that matches its digest, or an error message."""
    choice, *planned = data.split(b"\0")
    repository = Repository.from_names("http://127.0.0.1:5000", "owner/image")
    transport = Transport(
        repository, HELD, policy=RetryPolicy(attempts=2, pause=0, longest_pause=0, reads=2)
    )
    transport._session = _Session(planned or [b"200"])
    client, blob = RegistryClient(transport), Descriptor.of(BLOB, "x")
    try:
        _do(choice, client, blob)
    except HarnessError as error:
        assert PASSWORD not in str(error) and HELD.basic.reveal() not in str(error)


def _do(choice: bytes, client: RegistryClient, blob: Descriptor) -> None:
    match choice:
        case b"push":
            client.push_blob(blob, _directory / "blob")
        case b"check":
            client.check_blob(blob)
        case b"tags":
            assert all(isinstance(tag, str) for tag in client.tags())
        case b"referrers":
            assert all(isinstance(found, Descriptor) for found in referrers(client, blob.digest))
        case b"put":
            client.push_manifest(BLOB, "x", "v1")
        case _:
            data = client.manifest(blob.digest)
            assert data is None or sha256(data) == blob.digest


_ANSWERS = (
    *(b"\0200\n", b"\0202\nLocation: /v2/x\n\n", b"\0401\nWWW-Authenticate: Basic x\n\n"),
    *(b"\0201\n\n", b"\0404\n\n", b"\0429\nRetry-After: 0\n\n", b"\0204\nRange: 0-3\n\n"),
    *(b'{"tags":["a"]}', b'{"errors":[{"code":"X"}]}', b'{"manifests":[]}', b'{"token":"x"}'),
    *(
        b"Docker-Content-Digest: ",
        b"Content-Length: 8\n",
        b'Link: </v2/x>; rel="next"\n',
        b"http://[",
    ),
    *(
        b'WWW-Authenticate: Bearer realm="http://127.0.0.1/t"\n',
        b"@blob",
        b"push",
        b"check",
        b"tags",
    ),
    *(b"referrers", b"put", b"//", b"//example.invalid/", b"?x=y", b"#", b"500\n\n"),
)
REFERENCE = Target(
    name="reference",
    run=reference,
    words=(
        b"\0",
        b"https://",
        b"http://",
        b"127.0.0.1",
        b"[::1]",
        b":65536",
        b"ghcr.io",
        b"owner/image",
    ),
    longest=120,
)
TOKEN = Target(
    name="token",
    run=token,
    words=(
        *(
            b"\0",
            b"Basic ",
            b"Bearer ",
            b'realm="https://x/t"',
            b'service="x"',
            b"https://[",
            b"http://",
        ),
        *(b'"token":"x"', b'"access_token":"x"', b'"expires_in":60', b"1e400", b"\\n", b"\\u00e9"),
    ),
    longest=300,
)
DOCKER_CONFIG = Target(
    name="docker_config",
    run=docker_config,
    words=(
        *(
            b"\0",
            b'"auths":{"ghcr.io":{"auth":"YTpi"}}',
            b'"credsStore":"x"',
            b'"identitytoken":"x"',
        ),
        *(
            b'"credHelpers":{"ghcr.io":"x"}',
            b'{"Username":"u","Secret":"s"}',
            b'"username":',
            b"null",
        ),
        *(b'"password":', b'"\\ud800"', b"[]", b"{}", b"1", b'"<token>"', b"https://ghcr.io"),
    ),
    longest=400,
)
ANSWERS = Target(name="registry_answers", run=answers, words=_ANSWERS, longest=600)
