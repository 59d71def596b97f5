"""Sends requests to a registry: TLS, authorization, and another try for what can pass.

Tried again: 429 (as long as the server says in Retry-After), 408, 5xx, broken or refused
connections.
Never: any other answer, in particular 401, 403 and 404, and certificates that are not trusted.
"""

import email.utils
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_base, wait_random_exponential

from harness import __version__
from harness.core.console import detail
from harness.core.errors import RegistryError
from harness.core.untrusted import UNREADABLE, TooLargeError, bounded_session
from harness.registry.auth import PULL_PUSH, Authorizer, Challenge
from harness.registry.credentials import Credentials
from harness.registry.reference import Repository

TIMEOUT_SECONDS = (10, 120)  # to connect, between bytes
_SHOWN = 300
_OK = requests.codes
Body = Callable[[], Any]
"""Makes the body of a request anew, for another try."""


class DeniedError(RegistryError):
    """The registry does not let us: 401 or 403."""


class MayPassError(RegistryError):
    """A failure that a later attempt may not meet."""

    def __init__(self, message: str, *, retry_after: float = 0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UnreachableError(MayPassError):
    """Nobody answers there."""


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How often and how long something is tried."""

    attempts: int = 6
    pause: float = 0.5  # seconds, the scale of the growing random pauses
    longest_pause: float = 60  # a server that asks for more is not waited for


class Transport:
    """One session with the registry of `repository`."""

    def __init__(
        self,
        repository: Repository,
        credentials: Credentials | None = None,
        *,
        ca: Path | None = None,
        policy: RetryPolicy | None = None,
    ) -> None:
        self.repository = repository
        self.policy = policy or RetryPolicy()
        self.auth = Authorizer(credentials, f"repository:{repository.name}:{PULL_PUSH}")
        self._session = bounded_session()
        self._session.headers["User-Agent"] = f"finfocus-image-harness/{__version__}"
        # Without an `auth` of the session, requests would take one from ~/.netrc.
        self._session.auth = lambda request: request
        self._verify: str | None = str(ca) if ca else None

    def close(self) -> None:
        """End the connections."""
        self._session.close()

    def request(
        self,
        method: str,
        url: str,
        *,
        expect: Collection[int],
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        stream: bool = False,
    ) -> requests.Response:
        """The answer to a request, tried again while it fails in a way that can pass.

        Raises `DeniedError`, `UnreachableError` or another `RegistryError` when the status is not
        one of `expect`.
        """
        return self.retrying()(
            self.once, method, url, expect=expect, headers=headers, body=body, stream=stream
        )

    def retrying(self) -> Retrying:
        """The attempts of this transport's policy, for work of several requests."""
        return Retrying(
            retry=retry_if_exception_type(MayPassError),
            stop=stop_after_attempt(self.policy.attempts),
            wait=_Pause(self.policy),
            before_sleep=_tell,
            retry_error_callback=_give_up,
        )

    def once(
        self,
        method: str,
        url: str,
        *,
        expect: Collection[int],
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        stream: bool = False,
    ) -> requests.Response:
        """The same, tried once; only an authorization that is refused is renewed, once."""

        def send() -> requests.Response:
            sent = dict(headers or {})
            if authorization := self.auth.header(self._fetch_token):
                sent["Authorization"] = authorization.reveal()
            return self._send(
                method, url, headers=sent, data=body() if body else None, stream=stream
            )

        answer = send()
        if answer.status_code == _OK.unauthorized:
            challenge = Challenge.from_header(answer.headers.get("WWW-Authenticate", ""))
            if challenge and self.auth.answer(challenge, self._fetch_token):
                answer.close()
                answer = send()
        if answer.status_code not in expect:
            self._refuse(method, url, answer)
        return answer

    def _fetch_token(self, method: str, url: str, **options: Any) -> requests.Response:
        answer = self._send(method, url, **options)
        if answer.status_code != _OK.ok:
            self._refuse(method, url, answer)
        return answer

    def _send(self, method: str, url: str, **options: Any) -> requests.Response:
        where = bare(url)
        detail(f"{method} {where}")
        try:
            return self._session.request(
                method,
                url,
                timeout=TIMEOUT_SECONDS,
                verify=self._verify,
                # A body was read once and is not there a second time.
                allow_redirects=method in {"GET", "HEAD"},
                **options,
            )
        except TooLargeError as error:
            raise RegistryError(f"{method} {where}: {error}") from None
        except requests.exceptions.SSLError as error:
            if "certificate verify failed" in repr(error).lower():
                raise RegistryError(
                    f"{where}: the server's certificate is not trusted; give its authority with"
                    " --registry-ca"
                ) from None
            raise MayPassError(f"{method} {where}: the connection broke") from None
        except requests.ConnectionError as error:
            if any(sign in repr(error) for sign in ("NewConnection", "NameResolution")):
                host = urlsplit(url).netloc
                raise UnreachableError(f"{host} cannot be reached from this machine") from None
            raise MayPassError(f"{method} {where}: the connection broke") from None
        except requests.RequestException as error:
            raise MayPassError(f"{method} {where}: {type(error).__name__}") from None
        except (urllib3.exceptions.HTTPError, *UNREADABLE) as error:
            # A redirect to no address, a header that is no text: requests lets these through.
            kind = type(error).__name__
            raise RegistryError(
                f"{method} {where}: an answer that cannot be read ({kind})"
            ) from None

    def _refuse(self, method: str, url: str, answer: requests.Response) -> NoReturn:
        """Raise what an answer that was not expected means."""
        code = answer.status_code
        text = f"{method} {bare(url)}: HTTP {code}{self._words(answer)}"
        if code in {_OK.unauthorized, _OK.forbidden}:
            held = self.auth.credentials
            who = (
                f"{held.username} ({held.source})" if held else "nobody: no credentials were found"
            )
            raise DeniedError(
                f"{text}\n  asked as {who}; log in with `docker login {self.repository.host}`"
                " or set GITHUB_TOKEN (needs packages: write)"
            )
        if code in {_OK.too_many_requests, _OK.request_timeout} or code >= _OK.server_error:
            pause = retry_after(answer.headers.get("Retry-After", ""))
            if pause > self.policy.longest_pause:
                raise RegistryError(f"{text}\n  it asks to come back in {pause:.0f} s: try then")
            raise MayPassError(text, retry_after=pause)
        raise RegistryError(text)

    def _words(self, answer: requests.Response) -> str:
        """What the registry says is wrong, shortened and without secrets."""
        try:
            errors = answer.json()["errors"]
            said = "; ".join(f"{e.get('code', '')} {e.get('message', '')}".strip() for e in errors)
        except (*UNREADABLE, requests.RequestException):
            return ""
        return f" ({self.auth.redact(' '.join(said.split()))[:_SHOWN]})" if said else ""


def bare(url: str) -> str:
    """`url` without its query, which may hold the state of an upload."""
    return url.partition("?")[0].partition("#")[0]


def join(base: str, location: str) -> str:
    """Where `location`, as an answer of `base` has it, leads to."""
    try:
        joined = urljoin(base, location)
        urlsplit(joined)
    except ValueError:
        raise RegistryError(
            f"{bare(base)} leads on to no address: {bare(location)[:200]}"
        ) from None
    return joined


def retry_after(header: str) -> float:
    """Seconds that the header `Retry-After` asks to wait (RFC 9110, 10.2.3); 0 when unclear."""
    if header.strip().isdecimal():
        return float(header)
    try:
        moment = email.utils.parsedate_to_datetime(header).timestamp()
    except UNREADABLE:
        return 0
    return max(moment - time.time(), 0)


class _Pause(wait_base):
    """As long as the server asks, else random and growing."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._random = wait_random_exponential(multiplier=policy.pause, max=policy.longest_pause)

    def __call__(self, retry_state: RetryCallState) -> float:
        asked = getattr(_error(retry_state), "retry_after", 0)
        return float(asked) or self._random(retry_state)


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _tell(state: RetryCallState) -> None:
    pause = state.next_action.sleep if state.next_action else 0
    detail(f"again in {pause:.1f} s: {_error(state)}")


def _give_up(state: RetryCallState) -> NoReturn:
    error = _error(state)
    kind = UnreachableError if isinstance(error, UnreachableError) else RegistryError
    raise kind(f"{error}\n  tried {state.attempt_number} times: try again later") from None
