"""Find the user name and the secret for a registry, and keep the secret out of all output.

Sources, in order: GITHUB_TOKEN for ghcr.io, then Docker's configuration as written by
`docker login`: a credential helper for the registry, the credential store, or an entry in `auths`.
https://github.com/docker/docker-credential-helpers, https://docs.docker.com/reference/cli/docker/login/
"""

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.decode import member, text
from harness.core.errors import CommandError, EnvironmentMissingError
from harness.core.process import run
from harness.core.untrusted import MALFORMED

GITHUB = "ghcr.io"
HIDDEN = "***"
_TOKEN_USER = "<token>"
_DOCKER_HUB = {"docker.io", "index.docker.io", "registry-1.docker.io"}


class Secret:
    """Text that is never printed, formatted or pickled; `reveal` returns it for sending."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text."""
        return self._text

    def __repr__(self) -> str:
        return HIDDEN

    __str__ = __repr__

    def __format__(self, _specification: str) -> str:
        return HIDDEN

    def __bool__(self) -> bool:
        return bool(self._text)

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError("a secret cannot be pickled")


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """The user name and secret for a registry."""

    username: str
    secret: Secret
    identity_token: bool = False  # exchanged for an access token at the token server
    source: str = ""  # for people: where they were found

    @property
    def basic(self) -> Secret:
        """Value of the header `Authorization` (RFC 7617)."""
        pair = f"{self.username}:{self.secret.reveal()}"
        return Secret(f"Basic {base64.b64encode(pair.encode()).decode()}")


def find_credentials(host: str, environ: Mapping[str, str]) -> Credentials | None:
    """Return the credentials for the registry `host`; None if there are none.

    Raises `EnvironmentMissingError` if Docker's configuration cannot be read or a helper fails.
    """
    if host == GITHUB and (token := environ.get("GITHUB_TOKEN")):
        user = environ.get("GITHUB_ACTOR") or "x-access-token"
        return Credentials(username=user, secret=Secret(token), source="GITHUB_TOKEN")
    path = _configuration(environ)
    try:
        config = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, RecursionError, ValueError) as error:
        # The text may contain a password, so only the reason is shown.
        reason = getattr(error, "msg", None) or getattr(error, "strerror", None) or "not JSON"
        raise EnvironmentMissingError(f"cannot read {path}: {reason}") from None
    for name in _names(host):
        with _as_docker_writes(path):
            helper = text(config, "credHelpers", name) or text(config, "credsStore")
        if helper and (found := _from_helper(helper, name)):
            return found
        with _as_docker_writes(path):
            if entry := member(config, Mapping[str, Any] | None, "auths", name):
                return _from_entry(entry, path, name)
    return None


@contextmanager
def _as_docker_writes(path: Path) -> Iterator[None]:
    try:
        yield
    except MALFORMED:
        raise EnvironmentMissingError(
            f"{path} is not a valid Docker configuration: run `docker login` again"
        ) from None


def _configuration(environ: Mapping[str, str]) -> Path:
    directory = environ.get("DOCKER_CONFIG")
    return (Path(directory) if directory else Path.home() / ".docker") / "config.json"


def _names(host: str) -> list[str]:
    """Return the names that a configuration may use for `host`."""
    names = [host, f"https://{host}", f"http://{host}", f"https://{host}/v2/"]
    return ["https://index.docker.io/v1/", *names] if host in _DOCKER_HUB else names


def _from_helper(helper: str, name: str) -> Credentials | None:
    program = f"docker-credential-{helper}"
    try:
        answer = json.loads(run([program, "get"], stdin=name, timeout=60))
        user, secret = member(answer, str, "Username"), member(answer, str, "Secret")
        f"{user}{secret}".encode()  # a lone surrogate cannot be sent
    except CommandError as error:
        if "credentials not found" in str(error):
            return None
        raise EnvironmentMissingError(
            f"{program}, set in Docker's configuration, failed for {name}: {error}"
        ) from None
    except MALFORMED:
        raise EnvironmentMissingError(
            f"{program} returned invalid credentials for {name}"
        ) from None
    return Credentials(
        username=user,
        secret=Secret(secret),
        identity_token=user == _TOKEN_USER,
        source=program,
    )


def _from_entry(entry: Mapping[str, Any], path: Path, name: str) -> Credentials | None:
    source = f"{path}, {name}"
    if token := text(entry, "identitytoken"):
        return Credentials(
            username=_TOKEN_USER, secret=Secret(token), identity_token=True, source=source
        )
    encoded = text(entry, "auth")
    try:
        decoded = base64.b64decode(encoded, validate=True).decode()
    except ValueError:
        raise EnvironmentMissingError(
            f"{source}: `auth` is not base64: run `docker login` again"
        ) from None
    user, _, secret = decoded.partition(":")
    user, secret = text(entry, "username") or user, text(entry, "password") or secret
    if not user or not secret:
        return None
    f"{user}{secret}".encode()  # a lone surrogate cannot be sent
    return Credentials(username=user, secret=Secret(secret), source=source)
