"""Send requests to a registry, with TLS, authorization and retries.

Retried: 429 (after the server's Retry-After), 408, 5xx, broken or refused connections. Not
retried: any other response, in particular 401, 403 and 404, and untrusted certificates.
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
from harness.core.decode import member
from harness.core.errors import RegistryError
from harness.core.untrusted import MALFORMED, TooLargeError, bounded_session
from harness.registry.auth import PULL_PUSH, Authorizer, Challenge
from harness.registry.credentials import Credentials
from harness.registry.reference import Repository

TIMEOUT_SECONDS = (10, 120)  # to connect, between bytes
_SHOWN = 300
_OK = requests.codes
Body = Callable[[], Any]
"""Creates the body of a request, once per attempt."""


class DeniedError(RegistryError):
    """The registry denied access: 401 or 403."""


class MayPassError(RegistryError):
    """A transient failure, worth retrying."""

    def __init__(self, message: str, *, retry_after: float = 0, status: int = 0) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.status = status


class BusyError(RegistryError):
    """The registry still answers 429 (too many requests) after all retries."""


class UnreachableError(MayPassError):
    """The host cannot be reached."""


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How often and how long to retry."""

    attempts: int = 6
    pause: float = 0.5  # seconds, the scale of the random exponential backoff
    longest_pause: float = 60  # a longer Retry-After is an error
    reads: int = 10  # of what was just written, until it is there; with a tenth of the pause


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
        # Without a session `auth`, requests would read credentials from ~/.netrc.
        self._session.auth = lambda request: request
        self._verify: str | None = str(ca) if ca else None

    def close(self) -> None:
        """Close the connections."""
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
        redirects: bool = True,
    ) -> requests.Response:
        """Send a request, retrying transient failures; return the response.

        Raises `DeniedError`, `UnreachableError` or another `RegistryError` if the status is not
        one of `expect`.
        """
        return self.retrying()(
            self.once,
            method,
            url,
            expect=expect,
            headers=headers,
            body=body,
            stream=stream,
            redirects=redirects,
        )

    def retrying(self) -> Retrying:
        """Return a retry loop with this transport's policy, for work of several requests."""
        return _retrying(self.policy.attempts, self.policy.pause, self.policy.longest_pause)

    def settling(self) -> Retrying:
        """Return a retry loop for reading what was just written.

        The registry is well, and often shows it a moment later, so this begins with short pauses.
        """
        return _retrying(self.policy.reads, self.policy.pause / 10, self.policy.longest_pause)

    def once(
        self,
        method: str,
        url: str,
        *,
        expect: Collection[int],
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        stream: bool = False,
        redirects: bool = True,
    ) -> requests.Response:
        """Send a request without retries, except one after renewing a refused authorization."""

        def send() -> requests.Response:
            sent = dict(headers or {})
            if authorization := self.auth.header(self._fetch_token):
                sent["Authorization"] = authorization.reveal()
            return self._send(
                method,
                url,
                headers=sent,
                data=body() if body else None,
                stream=stream,
                # A body cannot be sent a second time after a redirect.
                allow_redirects=redirects and method in {"GET", "HEAD"},
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
                **{"allow_redirects": method in {"GET", "HEAD"}, **options},
            )
        except TooLargeError as error:
            raise RegistryError(f"{method} {where}: {error}") from None
        except requests.exceptions.SSLError as error:
            if "certificate verify failed" in repr(error).lower():
                raise RegistryError(
                    f"{where}: the server's certificate is not trusted; pass its CA with"
                    " --registry-ca"
                ) from None
            raise MayPassError(f"{method} {where}: the connection broke") from None
        except requests.ConnectionError as error:
            if any(sign in repr(error) for sign in ("NewConnection", "NameResolution")):
                host = urlsplit(url).netloc
                raise UnreachableError(f"cannot reach {host} from this machine") from None
            raise MayPassError(f"{method} {where}: the connection broke") from None
        except requests.RequestException as error:
            raise MayPassError(f"{method} {where}: {type(error).__name__}") from None
        except (urllib3.exceptions.HTTPError, *MALFORMED) as error:
            # An invalid redirect URL or header: `requests` does not wrap these errors.
            kind = type(error).__name__
            raise RegistryError(f"{method} {where}: the response cannot be read ({kind})") from None

    def _refuse(self, method: str, url: str, answer: requests.Response) -> NoReturn:
        """Raise the error for an unexpected response."""
        code = answer.status_code
        text = f"{method} {bare(url)}: HTTP {code}{self._words(answer)}"
        if code in {_OK.unauthorized, _OK.forbidden}:
            held = self.auth.credentials
            who = f"as {held.username} ({held.source})" if held else "without credentials"
            raise DeniedError(
                f"{text}\n  sent {who}; log in with `docker login {self.repository.host}`"
                " or set GITHUB_TOKEN (needs packages: write)"
            )
        if code in {_OK.too_many_requests, _OK.request_timeout} or code >= _OK.server_error:
            pause = retry_after(answer.headers.get("Retry-After", ""))
            if pause > self.policy.longest_pause:
                kind = BusyError if code == _OK.too_many_requests else RegistryError
                raise kind(f"{text}\n  the registry asks to retry after {pause:.0f} s")
            raise MayPassError(text, retry_after=pause, status=code)
        raise RegistryError(text)

    def _words(self, answer: requests.Response) -> str:
        """Return the registry's error messages, shortened and without secrets."""
        try:
            errors = member(answer.json(), tuple[Any, ...], "errors")
            said = "; ".join(
                f"{member(e, Any, 'code') or ''} {member(e, Any, 'message') or ''}".strip()
                for e in errors
            )
        except (*MALFORMED, requests.RequestException):
            return ""
        return f" ({self.auth.redact(' '.join(said.split()))[:_SHOWN]})" if said else ""


def bare(url: str) -> str:
    """Return `url` without its query, which may contain upload state."""
    return url.partition("?")[0].partition("#")[0]


def join(base: str, location: str) -> str:
    """Resolve a `location` from a response of `base`."""
    try:
        joined = urljoin(base, location)
        urlsplit(joined)
    except ValueError:
        raise RegistryError(
            f"{bare(base)} returned an invalid location: {bare(location)[:200]}"
        ) from None
    return joined


def retry_after(header: str) -> float:
    """Return the seconds in a `Retry-After` header (RFC 9110, 10.2.3); 0 if it is invalid."""
    if header.strip().isdecimal():
        return float(header)
    try:
        moment = email.utils.parsedate_to_datetime(header).timestamp()
    except MALFORMED:
        return 0
    return max(moment - time.time(), 0)


def _retrying(attempts: int, pause: float, longest_pause: float) -> Retrying:
    return Retrying(
        retry=retry_if_exception_type(MayPassError),
        stop=stop_after_attempt(attempts),
        wait=_Pause(pause, longest_pause),
        before_sleep=_tell,
        retry_error_callback=_give_up,
    )


class _Pause(wait_base):
    """The server's Retry-After, else random exponential backoff."""

    def __init__(self, pause: float, longest: float) -> None:
        self._random = wait_random_exponential(multiplier=pause, max=longest)

    def __call__(self, retry_state: RetryCallState) -> float:
        asked = getattr(_error(retry_state), "retry_after", 0)
        return float(asked) or self._random(retry_state)


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _tell(state: RetryCallState) -> None:
    pause = state.next_action.sleep if state.next_action else 0
    detail(f"retrying in {pause:.1f} s: {_error(state)}")


def _give_up(state: RetryCallState) -> NoReturn:
    error = _error(state)
    kind = UnreachableError if isinstance(error, UnreachableError) else RegistryError
    if getattr(error, "status", 0) == _OK.too_many_requests:
        kind = BusyError
    raise kind(
        f"{error}\n  gave up after {state.attempt_number} attempts: try again later"
    ) from None
