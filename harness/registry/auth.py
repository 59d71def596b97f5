"""Answers a registry's challenge: Basic (RFC 7617) or a Bearer token (RFC 6750).

Tokens as Docker's registries give them:
https://distribution.github.io/distribution/spec/auth/token/ and .../auth/oauth/
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests

from harness.core.errors import RegistryError
from harness.core.untrusted import UNREADABLE
from harness.registry.credentials import HIDDEN, Credentials, Secret
from harness.registry.reference import is_loopback

PULL_PUSH = "pull,push"
DEFAULT_EXPIRY_SECONDS = 60
# A token is renewed when this share of its life is over, before the registry refuses it.
_USED_UP = 0.9
_CHALLENGE = re.compile(r"(?P<scheme>Basic|Bearer)\s+(?P<rest>[^\n]*)", re.IGNORECASE)
_PARAMETER = re.compile(r'(?<![a-zA-Z_])(?P<name>[a-zA-Z_]+)="(?P<value>[^"]*)"')

Fetch = Callable[..., requests.Response]
"""Sends one request, without authorization of its own: method, url, headers, params, data."""


@dataclass(frozen=True, kw_only=True)
class Challenge:
    """What the header `WWW-Authenticate` asks for."""

    scheme: str  # "basic" or "bearer"
    parameters: dict[str, str]

    @classmethod
    def from_header(cls, header: str) -> "Challenge | None":
        """The first challenge in `header` that can be answered."""
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
        """What to send as `Authorization`; renewed first when its time is over."""
        if self._challenge and time.monotonic() >= self._expires_at:
            self.answer(self._challenge, fetch)
        return self._header

    def answer(self, challenge: Challenge, fetch: Fetch) -> bool:
        """Get a new authorization for `challenge`; whether there is one to try."""
        self._challenge = challenge
        if challenge.scheme == "basic":
            self._header = self.credentials.basic if self.credentials else None
            return self._header is not None
        self._header = self._token(challenge, fetch)
        self.renewals += 1
        return True

    def redact(self, text: str) -> str:
        """`text` without any secret of ours that the other side sent back."""
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
                f"the registry sends for a token to no address: {realm[:200]!r}"
            ) from None
        if not realm.startswith("https://") and not is_loopback(host):
            raise RegistryError(
                f"the registry sends for a token to {realm[:200]!r}, which has no TLS:"
                " no password goes there"
            )
        asked = {"service": challenge.parameters.get("service", ""), "scope": self._scope}
        answer = self._ask(realm, {k: v for k, v in asked.items() if v}, fetch)
        try:
            found: dict[str, Any] = answer.json()
            token = str(found.get("token") or found["access_token"])
            if not (token.isascii() and token.isprintable()):
                raise ValueError("not a token")
            seconds = float(found.get("expires_in") or DEFAULT_EXPIRY_SECONDS)
        except UNREADABLE:
            raise RegistryError(f"the token server {host} gave no token") from None
        # What is no time at all would be asked for anew at each request, or never.
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
