"""A front before a registry that makes it behave like ghcr.io; see `behaviour`."""

import http.client
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from itertools import count
from threading import RLock
from typing import Any
from urllib.parse import parse_qs, urlsplit

import trustme

from harness.stand_ins.registry.behaviour import Behaviour
from harness.stand_ins.registry.tokens import SERVICE, TokenServer
from harness.stand_ins.serving import serving, tls_server

_READ = 1 << 20
_WEB_PAGE = "/packages"
_HOP = {"connection", "transfer-encoding", "content-length", "date", "server"}
_DIGEST = "docker-content-digest"
_SCOPE = re.compile(r"/v2/(?P<name>.+?)/(?:manifests|blobs|tags|referrers)/")
_MANIFEST = re.compile(r"/v2/(?P<name>.+)/manifests/(?P<reference>[^/]+)$")
_UPLOAD = re.compile(r"/v2/(?P<name>.+)/blobs/uploads/[^/]+$")
_TYPES = ", ".join(
    f"application/vnd.{name}+json"
    for name in (
        "oci.image.index.v1",
        "oci.image.manifest.v1",
        "docker.distribution.manifest.list.v2",
        "docker.distribution.manifest.v2",
    )
)


class Front:
    """What the handlers of one front share."""

    def __init__(self, host: str, behind: str, tokens: TokenServer, behaviour: Behaviour) -> None:
        self.host, self.behind = host, behind
        self.tokens, self.behaviour = tokens, behaviour
        self.lock = RLock()
        self.writes, self.answers = count(1), count(1)
        self.unseen: dict[str, tuple[int, Answer]] = {}  # reads left, and what they get
        # Another host, as github.com is for ghcr.io.
        self.web_page = f"https://localhost:{host.rpartition(':')[2]}{_WEB_PAGE}"

    def seen(self, path: str) -> "Answer | None":
        """Return what was at `path` before the last write, if the read does not see that yet."""
        with self.lock:
            left, before = self.unseen.get(path, (0, None))
            if before is None or not left:
                return None
            self.unseen[path] = (left - 1, before)
            return before

    def ask(self, method: str, path: str, headers: Mapping[str, str], body: Any = None) -> "Answer":
        """Ask the registry behind the front; the body of the answer is not read yet."""
        connection = http.client.HTTPConnection(self.behind, timeout=60)
        connection.request(method, path, body=body, headers=dict(headers))
        answer = connection.getresponse()
        return Answer(answer.status, dict(answer.getheaders()), answer)


class Answer:
    """Status, headers and body of an answer."""

    def __init__(self, status: int, headers: Mapping[str, str], body: Any) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.body = body

    def read(self) -> "Answer":
        """Return it with the whole body in memory, so that it can be sent again."""
        data = self.body if isinstance(self.body, bytes) else self.body.read()
        return Answer(self.status, self.headers, data)

    @classmethod
    def error(cls, status: int, code: str, headers: Mapping[str, str] | None = None) -> "Answer":
        """An error in the form of the specification."""
        body = f'{{"errors":[{{"code":"{code}","message":"as ghcr.io answers"}}]}}'.encode()
        return cls(status, {"Content-Type": "application/json", **(headers or {})}, body)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    wbufsize = -1
    front: Front

    def _any(self) -> None:
        self._left = int(self.headers.get("Content-Length") or 0)
        self._chunked = self.headers.get("Transfer-Encoding", "").lower() == "chunked"
        path = urlsplit(self.path).path
        answer = self._refused(path) or self._own(path) or self._forwarded(path)
        if self._left or self._chunked:
            self.close_connection = True  # an upload was refused before it was read
        self._send(answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815

    def _refused(self, path: str) -> Answer | None:
        """Return the refusal of a request that is too frequent, too large or without a token."""
        behaviour = self.front.behaviour
        writes = self.command in {"POST", "PUT", "PATCH"}
        if writes and behaviour.is_busy(next(self.front.writes)):
            busy = HTTPStatus.TOO_MANY_REQUESTS
            return Answer.error(busy, "TOOMANYREQUESTS", {"Retry-After": "1"})
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if path != _WEB_PAGE and not self.front.tokens.accepts(given):
            wanted = f'Bearer realm="{self.front.tokens.url}",service="{SERVICE}"'
            if scope := _SCOPE.match(path):
                wanted += f',scope="repository:{scope["name"]}:pull,push"'
            return Answer.error(
                HTTPStatus.UNAUTHORIZED, "UNAUTHORIZED", {"WWW-Authenticate": wanted}
            )
        if "Content-Range" in self.headers and self._left > behaviour.most_ranged:
            status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
            return Answer.error(status, "REQUESTED_RANGE_NOT_SATISFIABLE")
        return None

    def _own(self, path: str) -> Answer | None:
        """Return the answer that the front itself gives; None if the registry is asked."""
        if path == _WEB_PAGE:
            return Answer(HTTPStatus.OK, {"Content-Type": "text/html"}, b"<html></html>")
        if "/referrers/" in path and self.front.behaviour.referrers == "web page":
            return Answer(HTTPStatus.SEE_OTHER, {"Location": self.front.web_page}, b"")
        return self.front.seen(path) if self.command in {"GET", "HEAD"} else None

    def _forwarded(self, path: str) -> Answer:
        headers = {
            name: value
            for name, value in self.headers.items()
            if name.lower() not in {"authorization", "connection", "host", "transfer-encoding"}
        }
        # Some clients send one line for each type that they accept.
        accepted = ", ".join(self.headers.get_all("Accept", []))
        headers["Accept"] = accepted or "*/*"
        manifest = _MANIFEST.search(path)
        before = None
        if self.command == "PUT" and manifest and self.front.behaviour.lag:
            before = self.front.ask("GET", path, {"Accept": _TYPES}).read()
        pieces = self._pieces() if self._left else None
        body: Any = self._chunks() if self._chunked else pieces
        answer = self.front.ask(self.command, self.path, headers, body)
        if answer.status == HTTPStatus.CREATED:
            self._written(path, before)
        if manifest and self.command in {"GET", "HEAD"} and answer.status == HTTPStatus.OK:
            kind = answer.headers.get("content-type", "")
            if kind not in accepted:
                return Answer.error(HTTPStatus.NOT_FOUND, "MANIFEST_UNKNOWN")
        return answer

    def _written(self, path: str, before: Answer | None) -> None:
        """Let the next reads of what was written see what was there before."""
        if upload := _UPLOAD.search(path):
            digest = parse_qs(urlsplit(self.path).query).get("digest", [""])[0]
            path = f"/v2/{upload['name']}/blobs/{digest}"
            before = Answer.error(HTTPStatus.NOT_FOUND, "BLOB_UNKNOWN")
        if before:
            with self.front.lock:
                self.front.unseen[path] = (self.front.behaviour.lag, before)

    def _pieces(self) -> Iterator[bytes]:
        while self._left:
            data = self.rfile.read(min(_READ, self._left))
            if not data:
                return
            self._left -= len(data)
            yield data

    def _chunks(self) -> Iterator[bytes]:
        """Read a body of unknown length: https://www.rfc-editor.org/rfc/rfc9112#section-7.1."""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        self._chunked = False

    def _send(self, answer: Answer) -> None:
        headers = dict(answer.headers)
        # HEAD always has the digest: clients rely on it where there is no body to hash.
        if self.command != "HEAD" and self.front.behaviour.is_bare(next(self.front.answers)):
            headers.pop(_DIGEST, None)
        self.send_response(answer.status)
        for name, value in headers.items():
            if name not in _HOP:
                self.send_header(name, value)
        known = isinstance(answer.body, bytes)
        size = str(len(answer.body)) if known else headers.get("content-length")
        if size is None:
            answer = answer.read()
            size = str(len(answer.body))
        self.send_header("Content-Length", size)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "HEAD":
            return
        if isinstance(answer.body, bytes):
            self.wfile.write(answer.body)
            return
        while data := answer.body.read(_READ):
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing: the registry behind it does."""


@contextmanager
def front(
    host: str,
    behind: str,
    tokens: TokenServer,
    certificate: trustme.LeafCert,
    behaviour: Behaviour,
) -> Iterator[Front]:
    """A TLS front at `host` before the registry at `behind`, for the block."""
    shared = Front(host, behind, tokens, behaviour)
    handler = type("Handler", (_Handler,), {"front": shared})
    with serving(tls_server(int(host.rpartition(":")[2]), handler, certificate)):
        yield shared
