"""An in-process registry that misbehaves on request and records all requests.

It accepts anything, to detect a client that pushes in the wrong order: `half` has every manifest
that arrived before its parts.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import struct
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from harness.stand_ins.registry.behaviour import BEHAVIOURS, Behaviour
from harness.stand_ins.serving import serving

USER, PASSWORD = "releaser", "correct-horse-battery"
STATE = "/_attached/"
"""For the fake cosign, which may run in another process."""
BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


@dataclass
class Fault:
    """What to do instead, for requests whose "METHOD path" matches."""

    match: str
    status: int = 0  # respond with this status
    headers: dict[str, str] = field(default_factory=dict)
    reset_after: int = -1  # read this many bytes of the body, then reset the connection
    lose: bool = False  # process the request, then reset the connection instead of responding
    lie: bool = False  # respond with a wrong digest
    corrupt: bool = False  # respond with wrong bytes
    bare: bool = False  # respond without a digest header
    truncate: bool = False  # respond with half of the bytes
    expire: bool = False  # forget every token first
    skip: int = 0  # let this many requests pass first
    times: int = 1


class FakeRegistry:
    """State, faults and log of one fake registry."""

    profile = ""
    """Of registries that are made without one; see `BEHAVIOURS`."""

    def __init__(
        self,
        *,
        auth: str | None = None,
        referrers_api: bool | None = None,
        lag: int | None = None,
        profile: str | None = None,
    ) -> None:
        name = self.profile if profile is None else profile
        self.behaviour = behaviour = BEHAVIOURS[name] if name else Behaviour()
        self.lag = behaviour.lag if lag is None else lag  # reads that do not see a write yet
        self.unseen: dict[str, tuple[int, str]] = {}  # reads left, and what they see
        # "", "basic" or "bearer"
        self.auth = ("bearer" if name else "") if auth is None else auth
        self.referrers_api = (
            behaviour.referrers == "api" if referrers_api is None else referrers_api
        )
        self.uses: dict[str, int] = {}  # of tokens
        self.answers = 0
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.types: dict[str, str] = {}  # of manifests, when they are not OCI's
        self.tags: dict[str, str] = {}
        self.uploads: dict[str, bytearray] = {}
        self.tokens: set[str] = set()
        self.faults: list[Fault] = []
        self.log: list[str] = []
        self.ranges: list[str] = []  # of bodies; ghcr.io refuses them over 4 MiB
        self.received = 0  # bytes of blobs
        self.stored: list[str] = []  # digests of finished uploads
        self.half: list[str] = []
        self.moves: list[tuple[str, str]] = []
        self.on_tag: Callable[[str], None] = lambda _: None  # called after a tag was set
        self.lock = threading.RLock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.host = f"127.0.0.1:{self.server.server_port}"
        self.url = f"http://{self.host}"
        # Another host, as github.com is for ghcr.io.
        self.web_page = f"http://localhost:{self.server.server_port}/packages"

    def asked(self, pattern: str) -> int:
        """Return how many requests matched."""
        return sum(re.search(pattern, line) is not None for line in self.log)

    def fault_for(self, line: str) -> Fault | None:
        for fault in self.faults:
            if fault.times > 0 and re.search(fault.match, line):
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                return fault
        return None

    def wrote(self, reference: str, before: str = "") -> None:
        """For the next reads `reference` is what it was `before`."""
        if self.lag:
            self.unseen[reference] = (self.lag, before)

    def seen(self, reference: str) -> str:
        """The digest that a reader of `reference` gets; "" for none."""
        left, before = self.unseen.get(reference, (0, ""))
        if left:
            self.unseen[reference] = (left - 1, before)
            return before
        return self.tags.get(reference, reference)

    def parts(self, data: bytes) -> list[str]:
        """Return what a manifest or index refers to."""
        plain = json.loads(data)
        listed = [*plain.get("layers", []), *plain.get("manifests", [])]
        listed += [plain[key] for key in ("config",) if key in plain]
        return [entry["digest"] for entry in listed]

    def attached(self, digest: str) -> list[str]:
        """Return the payloads of the bundles that are listed for a manifest."""
        if self.referrers_api:
            plain = [json.loads(data) for data in self.manifests.values()]
            listed = [m for m in plain if m.get("subject", {}).get("digest") == digest]
        else:
            index = self.manifests.get(self.tags.get(digest.replace(":", "-"), ""), b"{}")
            entries = json.loads(index).get("manifests", [])
            listed = [json.loads(self.manifests[entry["digest"]]) for entry in entries]
        bundles = [json.loads(self.blobs[m["layers"][0]["digest"]]) for m in listed]
        return [bundle["dsseEnvelope"]["payload"] for bundle in bundles]

    def complete(self, digest: str) -> bool:
        """Return whether everything below the manifest with `digest` is present and correct."""
        if digest in self.blobs:
            return f"sha256:{hashlib.sha256(self.blobs[digest]).hexdigest()}" == digest
        data = self.manifests.get(digest)
        return data is not None and all(self.complete(part) for part in self.parts(data))


@contextmanager
def fake_registry(**options: Any) -> Iterator[FakeRegistry]:
    """A running fake registry."""
    registry = FakeRegistry(**options)
    with serving(registry.server):
        yield registry


def _handler(registry: FakeRegistry) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        fake = registry

    return Handler


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeRegistry
    timeout = 20
    wbufsize = -1  # headers and body in one write: no waiting for acknowledgements

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PATCH(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def _serve(self) -> None:
        path, self.fault = urlsplit(self.path).path, None
        if path.startswith(STATE):
            with self.fake.lock:
                found = self.fake.attached(path.removeprefix(STATE))
            return self._answer(200, json.dumps(found).encode())
        line = f"{self.command} {path}"
        with self.fake.lock:
            self.fake.log.append(line)
            busy = self.fake.behaviour.is_busy(len(self.fake.log))
            self.fault = fault = None if busy else self.fake.fault_for(line)
        if fault and fault.expire:
            self.fake.tokens.clear()
        if fault and fault.reset_after >= 0:
            return self._reset_after(path, fault.reset_after)
        body = self._body()
        if busy:
            return self._answer(429, b"{}", {"Retry-After": "0"})
        if fault and fault.status:
            errors = {"errors": [{"code": "TEST", "message": self._echo()}]}
            return self._answer(fault.status, json.dumps(errors).encode(), fault.headers)
        if not self._authorized(path):
            return None
        with self.fake.lock:
            return self._route(path, body)

    def _echo(self) -> str:
        """Echo the request, as a careless registry does in its errors."""
        return f"failed to order, asked with {self.headers.get('Authorization')}"

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _reset_after(self, path: str, count: int) -> None:
        """Keep the first bytes of an upload, then reset the connection."""
        data = self.rfile.read(min(count, int(self.headers.get("Content-Length") or 0)))
        identity = path.rpartition("/")[2]
        if self.command == "PATCH" and identity in self.fake.uploads:
            self.fake.uploads[identity] += data
            self.fake.received += len(data)
        self._reset()

    def _reset(self) -> None:
        linger = struct.pack("ii", 1, 0)  # socket(7): close with a reset
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True
        self.connection.close()

    def _authorized(self, path: str) -> bool:
        given = self.headers.get("Authorization", "")
        if path == "/token":
            allowed = given == BASIC
        elif self.fake.auth == "bearer":
            token = given.removeprefix("Bearer ")
            allowed = token in self.fake.tokens
            self.fake.uses[token] = self.fake.uses.get(token, 0) + 1
            if self.fake.uses[token] >= self.fake.behaviour.token_requests:
                self.fake.tokens.discard(token)
        else:
            allowed = not self.fake.auth or given == BASIC
        if not allowed:
            realm = f'Bearer realm="{self.fake.url}/token",service="fake"'
            wanted = realm if self.fake.auth == "bearer" else 'Basic realm="fake"'
            self._answer(401, b"{}", {"WWW-Authenticate": wanted})
        return allowed

    def _route(self, path: str, body: bytes) -> None:
        if path == "/token":
            token = uuid.uuid4().hex
            self.fake.tokens.add(token)
            return self._answer(200, json.dumps({"token": token, "expires_in": 300}).encode())
        kind = re.search(r"/(blobs/uploads|blobs|manifests|tags|referrers)/", path)
        if path == "/packages":  # of the registry's web site
            return self._answer(200, b"<html></html>", {"Content-Type": "text/html"})
        if kind is None:
            return self._answer(200, b"{}")
        last = path.rpartition("/")[2]
        return {
            "blobs/uploads": self._upload,
            "blobs": self._blob,
            "manifests": self._manifest,
            "tags": self._tags,
            "referrers": self._referrers,
        }[kind[1]](last, body)

    def _upload(self, identity: str, body: bytes) -> None:  # noqa: PLR0911
        if self.command == "POST":
            identity = uuid.uuid4().hex
            self.fake.uploads[identity] = bytearray()
            return self._answer(202, b"", self._where(identity))
        data = self.fake.uploads.get(identity)
        if data is None:
            return self._answer(404, b"{}")
        if self.command == "GET":
            return self._answer(204, b"", self._where(identity))
        if "Content-Range" in self.headers:
            self.fake.ranges.append(self.headers["Content-Range"])
        start = self.headers.get("Content-Range", f"{len(data)}-").partition("-")[0]
        if int(start) != len(data):
            return self._answer(416, b"")
        if "Content-Range" in self.headers and len(body) > self.fake.behaviour.most_ranged:
            error = {"code": "REQUESTED_RANGE_NOT_SATISFIABLE", "message": "limit of 4.00MiB"}
            return self._answer(416, json.dumps({"errors": [error]}).encode())
        data += body
        self.fake.received += len(body)
        if self.command == "PATCH":
            return self._answer(202, b"", self._where(identity))
        digest = parse_qs(urlsplit(self.path).query)["digest"][0]
        del self.fake.uploads[identity]
        if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
            return self._answer(400, b'{"errors":[{"code":"DIGEST_INVALID"}]}')
        self.fake.blobs[digest] = bytes(data)
        self.fake.stored.append(digest)
        self.fake.wrote(digest)
        return self._answer(201, b"", {"Docker-Content-Digest": digest})

    def _where(self, identity: str) -> dict[str, str]:
        size = len(self.fake.uploads[identity])
        repository = self.path.partition("/blobs/")[0]
        return {
            "Location": f"{repository}/blobs/uploads/{identity}?_state=opaque",
            "Range": f"0-{max(size - 1, 0)}",
        }

    def _blob(self, digest: str, _body: bytes) -> None:
        self._content(self.fake.blobs.get(self.fake.seen(digest)), digest)

    def _content(self, data: bytes | None, digest: str, kind: str = "") -> None:
        if data is None:
            return self._answer(404, b'{"errors":[{"code":"UNKNOWN"}]}')
        headers = {"Docker-Content-Digest": digest}
        return self._answer(200, data, {**headers, **({"Content-Type": kind} if kind else {})})

    def _manifest(self, reference: str, body: bytes) -> None:
        if self.command == "PUT":
            digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
            if not all(self.fake.complete(part) for part in self.fake.parts(body)):
                self.fake.half.append(digest)
                if self.fake.behaviour.checks_parts:
                    error = b'{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}'
                    return self._answer(400, error)
            self.fake.wrote(reference, self.fake.tags.get(reference, ""))
            self.fake.manifests[digest] = body
            self.fake.types[digest] = self.headers["Content-Type"]
            if ":" not in reference:
                self.fake.tags[reference] = digest
                self.fake.moves.append((reference, digest))
                self.fake.on_tag(reference)
            headers = {"Docker-Content-Digest": digest}
            subject = json.loads(body).get("subject")
            if subject and self.fake.referrers_api:
                headers["OCI-Subject"] = subject["digest"]
            return self._answer(201, b"", headers)
        digest = self.fake.seen(reference)
        kind = self.fake.types.get(digest, "application/vnd.oci.image.manifest.v1+json")
        if kind not in self.headers.get("Accept", ""):  # as ghcr.io does
            return self._answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')
        return self._content(self.fake.manifests.get(digest), digest)

    def _tags(self, _last: str, _body: bytes) -> None:
        self._answer(200, json.dumps({"name": "x", "tags": sorted(self.fake.tags)}).encode())

    def _referrers(self, digest: str, _body: bytes) -> None:
        if not self.fake.referrers_api:
            if self.fake.behaviour.referrers == "web page":
                return self._answer(303, b"", {"Location": self.fake.web_page})
            return self._answer(404, b"404 page not found")
        found = []
        for key, data in self.fake.manifests.items():
            plain = json.loads(data)
            if plain.get("subject", {}).get("digest") == digest:
                entry = {"mediaType": plain["mediaType"], "digest": key, "size": len(data)}
                found.append({**entry, "artifactType": plain["artifactType"]})
        return self._answer(200, json.dumps({"schemaVersion": 2, "manifests": found}).encode())

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        sent, fault = dict(headers or {}), self.fault
        if fault and fault.lose:
            return self._reset()
        if fault and fault.lie and "Docker-Content-Digest" in sent:
            sent["Docker-Content-Digest"] = f"sha256:{'0' * 64}"
        self.fake.answers += 1
        bare = self.fake.behaviour.is_bare(self.fake.answers) and not fault
        if bare or (fault and fault.bare):
            sent.pop("Docker-Content-Digest", None)
        if fault and fault.corrupt and body:
            body = bytes([body[0] ^ 1]) + body[1:]
        self.send_response(status)
        for name, value in sent.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return None
        if fault and fault.truncate:
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            return self._reset()
        self.wfile.write(body)
        return None
