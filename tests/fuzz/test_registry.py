"""The registry client against misbehaving servers: correct data or one error message."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.core.errors import HarnessError
from harness.oci.descriptor import Descriptor, sha256
from harness.registry import (
    Credentials,
    RegistryClient,
    Repository,
    RetryPolicy,
    Secret,
    Transport,
    referrers,
)
from harness.registry import transport as transport_module
from tests.local_server import LocalServer, QuietHandler

BLOB = b'{"layers":[]}'
DIGEST = sha256(BLOB)
DESCRIBED = Descriptor.of(BLOB, "application/x")
PASSWORD = "correct-horse-battery"
HELD = Credentials(username="releaser", secret=Secret(PASSWORD), source="test")
LONGEST_SECONDS = 10.0
MOST_REQUESTS = 120

HEADERS: dict[str, list[str]] = {
    "Www-Authenticate": [
        *('Basic realm="x"', 'Bearer realm="@/token",service="s"', 'Bearer realm="https://["'),
        *('Bearer realm="http://example.invalid/t"', "Bearer", 'Digest realm="x"', "\xff"),
    ],
    "Location": [
        *("/v2/owner/image/blobs/uploads/1?_state=x", "/loop", "@/loop", "//", "http://[", ""),
        *("https://example.invalid/", "http://" + "a" * 70 + ".invalid/", "\xff", "#x", "ftp://x"),
    ],
    "Docker-Content-Digest": [DIGEST, "sha256:" + "0" * 64, "", "md5:x"],
    "Content-Length": ["0", "13", "5", "99", "-1", "many", "99999999999999999999"],
    "Range": ["0-3", "0-12", "0-0", "0-99", "9-3", "bytes=0-5", "0-" + "9" * 30, "x"],
    "Content-Encoding": ["gzip", "deflate", "br"],
    "Retry-After": ["0", "3600", "soon", "9" * 400, "Fri, 31 Dec 2100 23:59:59 GMT"],
    "Link": ['</v2/owner/image/tags/list>; rel="next"', '<http://[>; rel="next"', "<>; rel=next"],
    "OCI-Subject": [DIGEST, "x"],
}
HEADER = st.sampled_from(sorted(HEADERS)).flatmap(
    lambda name: st.tuples(st.just(name), st.sampled_from(HEADERS[name]))
)
BODY = st.sampled_from(
    [
        *(b"", BLOB, BLOB[:5], b"x" * 13, BLOB + b"x", b"[" * 5000, b"\xff\xfe", b"null", b"[]"),
        *(b'{"token":"t0k3n"}', b'{"token":"\\u00e9"}', b'{"token":"a\\nb"}', b'{"token":null}'),
        *(b'{"token":"t","expires_in":1' + b"0" * 400 + b"}", b'{"tags":["a"]}', b'{"tags":5}'),
        *(b'{"manifests":[{"mediaType":"x","digest":"%s","size":1e400}]}' % DIGEST.encode(),),
        *(b'{"errors":[{"code":"DENIED","message":"@echo"}]}', b'{"errors":[5]}', b'{"errors":{}}'),
    ]
)
STATUS = st.sampled_from(
    [
        *(200, 200, 201, 202, 204, 206, 301, 302, 303, 307, 308, 304, 400, 401, 403, 404, 408),
        *(410, 416, 418, 429, 500, 502, 503, 999),
    ]
)
ANSWER = st.none() | st.tuples(STATUS, st.lists(HEADER, max_size=3), BODY)
"""Status, headers and body; None breaks the connection."""
OPERATIONS: dict[str, Callable[[RegistryClient, Path], object]] = {
    "has": lambda client, _: client.has_blob(DESCRIBED),
    "check": lambda client, _: client.check_blob(DESCRIBED),
    "manifest": lambda client, _: client.manifest(DIGEST),
    "tag": lambda client, _: client.tag_digest("v1"),
    "push": lambda client, path: client.push_blob(DESCRIBED, path),
    "put": lambda client, _: client.push_manifest(BLOB, "application/x", "v1"),
    "tags": lambda client, _: client.tags(),
    "referrers": lambda client, _: referrers(client, DIGEST),
}


class Server(LocalServer):
    """Returns the planned responses in order, then repeats the last one."""

    def __init__(self) -> None:
        self.planned: list[Any] = []
        self.asked = 0
        outer = self

        class Handler(QuietHandler):
            def _any(self) -> None:
                self.close_connection = True
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                plan = outer.planned[min(outer.asked, len(outer.planned) - 1)]
                outer.asked += 1
                # Beyond the bound every request fails: a test that hangs shows nothing.
                if plan is not None and outer.asked <= 2 * MOST_REQUESTS:
                    self._answer(*plan)

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _any  # noqa: N815

            def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value.replace("@", outer.url))
                self.end_headers()
                if self.command != "HEAD":
                    given = self.headers.get("Authorization", "").encode()
                    self.wfile.write(body.replace(b"@echo", given))

        super().__init__(Handler)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One server for all examples."""
    made = Server()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use short timeouts and few tag pages."""
    monkeypatch.setattr(transport_module, "TIMEOUT_SECONDS", (1, 1))
    monkeypatch.setattr("harness.registry.client._PAGES", 20)


UPLOAD = ("Location", "/v2/owner/image/blobs/uploads/1?_state=x")


@pytest.mark.parametrize("operation", OPERATIONS)
@given(planned=st.lists(ANSWER, min_size=1, max_size=6))
@example(planned=[(200, [], BLOB)])
@example(planned=[(302, [("Location", "/loop")], b"")])
@example(planned=[(302, [("Location", "\xff")], b"")])
@example(planned=[(302, [("Location", "http://" + "a" * 70 + ".invalid/")], b"")])
@example(planned=[(404, [], b""), (202, [UPLOAD], b""), (202, [UPLOAD], b""), (201, [], b"")])
@example(planned=[(404, [], b""), (202, [UPLOAD], b""), (307, [("Location", "/loop")], b"")])
@example(planned=[(404, [], b""), (202, [("Location", "http://[")], b"")])
@example(planned=[(404, [], b""), (202, [UPLOAD], b""), None, (404, [], b""), (204, [], b"")])
@example(planned=[(401, [("Www-Authenticate", 'Bearer realm="https://["')], b"")])
@example(planned=[(401, [("Www-Authenticate", 'Bearer realm="@/t"')], b'{"token":"\\u00e9"}')])
@example(planned=[(403, [], b'{"errors":[{"code":"DENIED","message":"@echo"}]}')])
def test_any_registry_gives_what_is_true_or_one_error(
    server: Server, operation: str, planned: list[Any]
) -> None:
    """The client returns verified bytes or an error without secrets, within bounded time."""
    server.planned, server.asked = planned, 0
    began = time.monotonic()
    repository = Repository.from_names(server.url, "owner/image")
    quick = RetryPolicy(attempts=3, pause=0, longest_pause=0.01, reads=3)
    with (
        tempfile.TemporaryDirectory() as directory,
        RegistryClient(Transport(repository, HELD, policy=quick)) as client,
    ):
        path = Path(directory, "blob")
        path.write_bytes(BLOB)
        try:
            result = OPERATIONS[operation](client, path)
        except HarnessError as error:
            assert PASSWORD not in str(error)
            assert HELD.basic.reveal().partition(" ")[2] not in str(error)
            result = None
    assert server.asked <= MOST_REQUESTS
    assert time.monotonic() - began < LONGEST_SECONDS
    if operation == "manifest":
        assert result in {None, BLOB}
