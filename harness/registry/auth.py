"""Answer a registry's challenge with Basic (RFC 7617) or a Bearer token (RFC 6750).

The token protocol is that of Docker's registries:
https://distribution.github.io/distribution/spec/auth/token/ and .../auth/oauth/
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests

from harness.core.decode import member
from harness.core.errors import RegistryError
from harness.core.untrusted import MALFORMED
from harness.registry.credentials import HIDDEN, Credentials, Secret
from harness.registry.reference import is_loopback

PULL_PUSH = "pull,push"
DEFAULT_EXPIRY_SECONDS = 60
# Tokens are renewed after this share of their lifetime, before they expire.
_USED_UP = 0.9
_CHALLENGE = re.compile(r"(?P<scheme>Basic|Bearer)\s+(?P<rest>[^\n]*)", re.IGNORECASE)
_PARAMETER = re.compile(r'(?<![a-zA-Z_])(?P<name>[a-zA-Z_]+)="(?P<value>[^"]*)"')

Fetch = Callable[..., requests.Response]
"""Sends one request without adding authorization: method, url, headers, params, data."""


@dataclass(frozen=True, kw_only=True)
class Challenge:
    """A challenge from the header `WWW-Authenticate`."""

    scheme: str  # "basic" or "bearer"
    parameters: dict[str, str]

    @classmethod
    def from_header(cls, header: str) -> "Challenge | None":
        """Return the first supported challenge in `header`."""
        match = _CHALLENGE.search(header)
        if match is None:
            return None
        found = {m["name"].lower(): m["value"] for m in _PARAMETER.finditer(match["rest"])}
        return cls(scheme=match["scheme"].lower(), parameters=found)


class Authorizer:
    """Holds the authorization for one repository and renews it."""

    def __init__(self, credentials: Credentials | None, scope: str) -> None:
        self.credentials = credentials
        self._scope = scope
        self._header: Secret | None = None
        self._expires_at = float("inf")
        self._challenge: Challenge | None = None
        self.renewals = 0

    def header(self, fetch: Fetch) -> Secret | None:
        """Return the `Authorization` header, renewed first if it is about to expire."""
        if self._challenge and time.monotonic() >= self._expires_at:
            self.answer(self._challenge, fetch)
        return self._header

    def answer(self, challenge: Challenge, fetch: Fetch) -> bool:
        """Get a new authorization for `challenge`; return whether there is one to try."""
        self._challenge = challenge
        if challenge.scheme == "basic":
            self._header = self.credentials.basic if self.credentials else None
            return self._header is not None
        self._header = self._token(challenge, fetch)
        self.renewals += 1
        return True

    def redact(self, text: str) -> str:
        """Remove our secrets from `text` that the server sent."""
        known = [self._header] if self._header else []
        if self.credentials:
            known += [self.credentials.secret, self.credentials.basic]
        for secret in known:
            for form in (secret.reveal(), secret.reveal().partition(" ")[2]):
                text = text.replace(form, HIDDEN) if form else text
        return text

    def _token(self, challenge: Challenge, fetch: Fetch) -> Secret:
        realm = challenge.parameters.get("realm", "")
        try:
            host = urlsplit(realm).netloc
        except ValueError:
            raise RegistryError(
                f"the registry names an invalid token server: {realm[:200]!r}"
            ) from None
        if not realm.startswith("https://") and not is_loopback(host):
            raise RegistryError(
                f"the registry names a token server without TLS, {realm[:200]!r}:"
                " no password was sent"
            )
        asked = {"service": challenge.parameters.get("service", ""), "scope": self._scope}
        answer = self._ask(realm, {k: v for k, v in asked.items() if v}, fetch)
        try:
            found = answer.json()
            token = member(found, str | None, "token") or member(found, str, "access_token")
            if not (token.isascii() and token.isprintable()):
                raise ValueError("not a token")
            seconds = float(str(member(found, Any, "expires_in") or DEFAULT_EXPIRY_SECONDS))
        except MALFORMED:
            raise RegistryError(f"the token server {host} returned no token") from None
        # An invalid lifetime would mean a new token for every request, or never.
        seconds = seconds if 0 < seconds < float("inf") else DEFAULT_EXPIRY_SECONDS
        self._expires_at = time.monotonic() + seconds * _USED_UP
        return Secret(f"Bearer {token}")

    def _ask(self, realm: str, asked: dict[str, str], fetch: Fetch) -> requests.Response:
        if self.credentials and self.credentials.identity_token:
            form = {
                **asked,
                "grant_type": "refresh_token",
                "client_id": "finfocus-image-harness",
                "refresh_token": self.credentials.secret.reveal(),
            }
            return fetch("POST", realm, data=form)
        headers = {}
        if self.credentials:
            headers["Authorization"] = self.credentials.basic.reveal()
        return fetch("GET", realm, params=asked, headers=headers)
