"""A token server: https://distribution.github.io/distribution/spec/auth/token/."""

import base64
import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

import jwt
import trustme
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509 import load_pem_x509_certificate

from harness.registry.credentials import Credentials
from harness.stand_ins.serving import serving, tls_server

SERVICE = "finfocus-local-registry"


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
        self._public = leaf.public_key().public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        )
        self._x5c = [base64.b64encode(leaf.public_bytes(Encoding.DER)).decode()]
        self.server = tls_server(0, self._handler(), certificate)
        # By name: cosign refuses a private address (google/go-containerregistry#2258).
        self.url = f"https://localhost:{self.server.server_port}/token"

    def accepts(self, token: str) -> bool:
        """Return whether `token` was issued here and has not expired."""
        try:
            jwt.decode(token, self._public, algorithms=["ES256"], audience=SERVICE)
        except jwt.InvalidTokenError:
            return False
        return True

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
            # The registry tolerates a minute of clock difference (its `Leeway`).
            "exp": int(now + self.seconds),
            "access": access,
        }
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
def token_server(
    credentials: Credentials, certificate: trustme.LeafCert, seconds: float
) -> Iterator[TokenServer]:
    """A token server whose tokens are good for `seconds`, for the block."""
    tokens = TokenServer(credentials, certificate, seconds)
    with serving(tokens.server):
        yield tokens
