"""A registry on loopback that is as strict as a real one: TLS, and a token for every request.

It is Debian's `docker-registry`. The certificate authority, the user's password and the token
server (https://distribution.github.io/distribution/spec/auth/token/) are created for the run.
"""

import base64
import json
import secrets
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import socket
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import jwt
import requests
import trustme
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate

from harness.core.console import step
from harness.core.errors import EnvironmentMissingError
from harness.core.files import replace_directory
from harness.core.process import ensure_tools
from harness.core.proof import StandIn
from harness.core.wait import wait_until
from harness.registry.credentials import Credentials, Secret

SERVICE = "finfocus-local-registry"
TOKEN_SECONDS = 300
START_SECONDS = 20
_PACKAGES = {"docker-registry": "docker-registry", "setpriv": "util-linux"}


@dataclass(frozen=True, kw_only=True)
class LocalRegistry:
    """A running registry and how to authenticate."""

    host: str  # "127.0.0.1:40001"
    ca: Path  # its certificate authority, PEM
    credentials: Credentials
    token_server: "TokenServer"
    log: Path
    stand_in: StandIn
    process: "subprocess.Popen[bytes]"


@contextmanager
def local_registry(
    directory: Path, *, port: int = 0, token_seconds: float = TOKEN_SECONDS, keep: bool = False
) -> Iterator[LocalRegistry]:
    """A TLS registry with authentication and its content in `directory`, for the block.

    With `keep` it starts with the existing content. Raises `EnvironmentMissingError` if Debian's
    docker-registry is unavailable, and `UsageError` if `directory` has foreign content.
    """
    ensure_tools(_PACKAGES, wanted_for="a local registry")
    if not keep:
        replace_directory(directory)
    authority = trustme.CA(organization_name="throw-away authority of a local registry")
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    ca, key, chain = (directory / name for name in ("ca.pem", "key.pem", "chain.pem"))
    authority.cert_pem.write_to_path(str(ca))
    key.touch(mode=0o600)
    certificate.private_key_pem.write_to_path(str(key))
    for number, pem in enumerate(certificate.cert_chain_pems):
        pem.write_to_path(str(chain), append=number > 0)
    password = Secret(secrets.token_urlsafe(24))
    credentials = Credentials(username="harness", secret=password, source="the local registry")
    with _token_server(credentials, certificate, token_seconds) as tokens:
        host = f"127.0.0.1:{port or free_port()}"
        (directory / "config.yml").write_text(
            _configuration(directory, host, tokens.url), encoding="utf-8"
        )
        with _process(directory, host, ca) as process:
            yield LocalRegistry(
                host=host,
                ca=ca,
                credentials=credentials,
                token_server=tokens,
                log=directory / "registry.log",
                stand_in=StandIn(
                    kind="registry",
                    replaces="ghcr.io",
                    why="requested by --registry localhost; it stops when the run ends",
                ),
                process=process,
            )


def free_port() -> int:
    """A free port on loopback."""
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _configuration(directory: Path, host: str, realm: str) -> str:
    """https://distribution.github.io/distribution/about/configuration/; JSON is YAML."""
    return json.dumps(
        {
            "version": 0.1,
            "log": {"level": "warn", "accesslog": {"disabled": False}},
            "storage": {
                "filesystem": {"rootdirectory": str(directory / "content")},
                "delete": {"enabled": False},
            },
            "http": {
                "addr": host,
                "secret": secrets.token_urlsafe(24),
                "tls": {
                    "certificate": str(directory / "chain.pem"),
                    "key": str(directory / "key.pem"),
                },
            },
            "auth": {
                "token": {
                    "realm": realm,
                    "service": SERVICE,
                    "issuer": SERVICE,
                    "rootcertbundle": str(directory / "ca.pem"),
                }
            },
        }
    )


@contextmanager
def _process(directory: Path, host: str, ca: Path) -> Iterator["subprocess.Popen[bytes]"]:
    # The kernel kills it if this process dies; its own session keeps Ctrl+C from it.
    command = ["setpriv", "--pdeathsig", "KILL", "docker-registry", "serve"]
    command.append(str(directory / "config.yml"))
    log = directory / "registry.log"
    with step(f"starting a local registry at {host}"), log.open("wb") as file:
        registry = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
        )
        try:
            wait_until(
                lambda: registry.poll() is not None or _answers(host, ca),
                timeout=START_SECONDS,
                what="the local registry answers",
                explain=lambda: log.read_text(errors="replace")[-2000:],
            )
        except BaseException:
            registry.kill()
            registry.wait()
            raise
    try:
        if registry.poll() is not None:
            words = log.read_text(errors="replace")[-2000:]
            raise EnvironmentMissingError(f"docker-registry failed to start:\n{words}")
        yield registry
    finally:
        registry.terminate()
        try:
            registry.wait(timeout=10)
        except subprocess.TimeoutExpired:
            registry.kill()
            registry.wait()


def _answers(host: str, ca: Path) -> bool:
    try:
        answer = requests.get(f"https://{host}/v2/", verify=str(ca), timeout=2)
    except requests.RequestException:
        return False
    return bool(answer.status_code == requests.codes.unauthorized)


class TokenServer:
    """Issues tokens to the only user, for the requested scopes."""

    def __init__(
        self, credentials: Credentials, certificate: trustme.LeafCert, seconds: float
    ) -> None:
        self.seconds = seconds
        self.given = 0
        self.failures: list[int] = []  # statuses to return instead, once each
        self.expected = credentials.basic
        self._key: PrivateKeyTypes = load_pem_private_key(
            certificate.private_key_pem.bytes(), password=None
        )
        leaf = load_pem_x509_certificate(certificate.cert_chain_pems[0].bytes())
        self._x5c = [base64.b64encode(leaf.public_bytes(Encoding.DER)).decode()]
        server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        # Each connection's thread does its own handshake.
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.server = server
        self.url = f"https://127.0.0.1:{server.server_port}/token"

    def token(self, scopes: list[str]) -> str:
        """A signed token that grants `scopes`."""
        now = time.time()
        access = []
        for scope in " ".join(scopes).split():
            kind, name, actions = scope.split(":", 1)[0], scope.split(":", 1)[1], ""
            name, _, actions = name.rpartition(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        claims = {
            "iss": SERVICE,
            "aud": SERVICE,
            "sub": "harness",
            "jti": secrets.token_hex(8),
            "iat": int(now),
            "nbf": int(now) - 5,
            "exp": now + self.seconds,
            "access": access,
        }
        # The registry tolerates a minute of clock difference (its `Leeway`).
        claims["exp"] = int(now + self.seconds)
        return jwt.encode(claims, self._key, algorithm="ES256", headers={"x5c": self._x5c})  # type: ignore[arg-type]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def do_GET(self) -> None:
                query = parse_qs(urlsplit(self.path).query)
                if outer.failures:
                    return self._answer(outer.failures.pop(0), {})
                if self.headers.get("Authorization") != outer.expected.reveal():
                    return self._answer(401, {"details": "wrong user or password"})
                outer.given += 1
                token = outer.token(query.get("scope", []))
                return self._answer(200, {"token": token, "expires_in": outer.seconds})

            def _answer(self, status: int, content: object) -> None:
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Log nothing: requests carry secrets."""

        return Handler


@contextmanager
def _token_server(
    credentials: Credentials, certificate: trustme.LeafCert, seconds: float
) -> Iterator[TokenServer]:
    tokens = TokenServer(credentials, certificate, seconds)
    thread = Thread(target=tokens.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield tokens
    finally:
        tokens.server.shutdown()
        tokens.server.server_close()
        thread.join()
