"""Requests to GitHub's REST API for one repository, with retries of what surely did nothing.

https://docs.github.com/rest/using-the-rest-api/getting-started-with-the-rest-api
"""

import re
import time
from collections.abc import Mapping
from typing import Any, NoReturn
from urllib.parse import urlsplit

import requests
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_random_exponential

from harness import __version__
from harness.core.decode import decode, text
from harness.core.errors import HarnessError, UsageError
from harness.core.untrusted import MALFORMED, bounded_session
from harness.registry.credentials import Secret
from harness.registry.reference import is_loopback

API = "https://api.github.com"
VERSION = "2022-11-28"
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}")
_NEXT = re.compile(r'<(?P<url>[^>]+)>\s*;\s*rel="next"')
_SECONDS = (10, 60)  # to connect, between bytes
_ATTEMPTS = 5
_LONGEST_PAUSE = 120.0
_PAGES = 100
_SHOWN = 300
_OK = requests.codes


class GitHubError(HarnessError):
    """GitHub refused a request, or failed."""

    exit_code = 10


class _MayPassError(GitHubError):
    """A failure that is worth retrying: GitHub did not process the request."""

    def __init__(self, message: str, *, pause: float = 0) -> None:
        super().__init__(message)
        self.pause = pause


class GitHub:
    """One repository. Methods raise `GitHubError` if GitHub refuses, fails or answers nonsense."""

    def __init__(
        self, repository: str, token: Secret | None, *, api: str = API, pause: float = 1
    ) -> None:
        """Use the API at `api`; the token is sent only there. Raises `UsageError`."""
        if not _REPOSITORY.fullmatch(repository):
            raise UsageError(f"{repository!r} is not a repository on GitHub: use OWNER/NAME")
        address = urlsplit(api)
        if address.scheme != "https" and not is_loopback(address.netloc):
            raise UsageError(f"a token would be sent to {api} without TLS: use https")
        self.repository = repository
        self._token = token
        self._api = api.rstrip("/")
        self._pause = pause
        self._session = bounded_session()

    def __enter__(self) -> "GitHub":
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def everything(self, path: str, **parameters: str) -> list[dict[str, Any]]:
        """Return all entries of a list, over all its pages."""
        url, found = self._url(path), []
        given: dict[str, str] = {"per_page": "100", **parameters}
        for _ in range(_PAGES):
            answer = self._request("GET", url, params=given)
            found += _read(answer, tuple[Mapping[str, Any], ...])
            following = _NEXT.search(answer.headers.get("Link", ""))
            if following is None:
                return found
            url, given = following["url"], {}
            if not url.startswith(f"{self._api}/"):
                raise GitHubError(f"GitHub continues its list on another host: {_bare(url)}")
        raise GitHubError(f"GET {_bare(url)}: more than {_PAGES} pages")

    def find(self, path: str) -> dict[str, Any] | None:
        """Return the object at the repository's `path`; None if there is none."""
        answer = self._request("GET", self._url(path), also=_OK.not_found)
        if answer.status_code == _OK.not_found:
            return None
        return dict(_read(answer, Mapping[str, Any]))

    def delete(self, path: str) -> None:
        """Delete the object at the repository's `path`, if it is there."""
        self._request("DELETE", self._url(path), also=_OK.not_found)

    def upload(self, url: str, name: str, data: bytes) -> None:
        """Upload `data` as the asset `name` to `url`, which GitHub named.

        Raises `GitHubError` for a URL that is not GitHub's: the token is sent there.
        """
        host, own = urlsplit(url).netloc, urlsplit(self._api).netloc
        domain = own.removeprefix("api.")
        if urlsplit(url).scheme != urlsplit(self._api).scheme or (
            host != own and not host.endswith(f".{domain}")
        ):
            raise GitHubError(f"GitHub names another host for uploads: {_bare(url)}")
        self._request("POST", url, params={"name": name}, data=data)

    def create(self, path: str, **fields: object) -> dict[str, Any]:
        """Create an object below the repository's `path`; return it."""
        return self._object("POST", path, fields)

    def change(self, path: str, **fields: object) -> dict[str, Any]:
        """Change the object at the repository's `path`; return it."""
        return self._object("PATCH", path, fields)

    def _object(self, method: str, path: str, fields: Mapping[str, object]) -> dict[str, Any]:
        answer = self._request(method, self._url(path), json=fields)
        return dict(_read(answer, Mapping[str, Any]))

    def _url(self, path: str) -> str:
        return f"{self._api}/repos/{self.repository}/{path}"

    def _request(
        self, method: str, url: str, *, also: int = 0, **content: object
    ) -> requests.Response:
        """Send a request until it is processed; `also` is another status that is an answer.

        `content` are the options `params`, `json` and `data` of `requests`.
        """
        attempts = Retrying(
            retry=retry_if_exception_type(_MayPassError),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=self._wait,
            reraise=True,
        )
        return attempts(self._once, method, url, also, content)

    def _once(
        self, method: str, url: str, also: int, content: Mapping[str, Any]
    ) -> requests.Response:
        headers = {
            "Accept": "application/vnd.github+json",
            "User-Agent": f"finfocus-image-harness/{__version__}",
            "X-GitHub-Api-Version": VERSION,
        }
        if "data" in content:
            headers["Content-Type"] = "application/octet-stream"
        if self._token:
            headers["Authorization"] = f"Bearer {self._token.reveal()}"
        try:
            answer = self._session.request(
                method, url, headers=headers, timeout=_SECONDS, allow_redirects=False, **content
            )
        except requests.RequestException as error:
            what = f"{method} {_bare(url)}: {type(error).__name__}"
            # A creation that may have arrived is not repeated: it would be there twice.
            raise (GitHubError if method == "POST" else _MayPassError)(what) from None
        if answer.status_code not in {_OK.ok, _OK.created, _OK.no_content, also}:
            _refuse(method, answer)
        return answer

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = getattr(error, "pause", 0)
        return float(asked) or wait_random_exponential(multiplier=self._pause, max=30)(state)


def _refuse(method: str, answer: requests.Response) -> NoReturn:
    """Raise the error for an unexpected response.

    Rate limits: https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
    """
    code, headers = answer.status_code, answer.headers
    what = f"{method} {_bare(answer.url)}: HTTP {code}{_words(answer)}"
    limited = code == _OK.too_many_requests or (
        code == _OK.forbidden
        and ("Retry-After" in headers or headers.get("X-RateLimit-Remaining") == "0")
    )
    if limited:
        pause = _number(headers.get("Retry-After", ""))
        pause = pause or max(_number(headers.get("X-RateLimit-Reset", "")) - time.time(), 0)
        if pause > _LONGEST_PAUSE:
            raise GitHubError(f"{what}\n  the rate limit ends in {pause:.0f} s: try again then")
        raise _MayPassError(what, pause=pause)
    if code in {_OK.unauthorized, _OK.forbidden, _OK.not_found}:
        raise GitHubError(
            f"{what}\n  check GITHUB_TOKEN and its permissions (issues: write, contents: write)"
        )
    if code >= _OK.server_error and method != "POST":
        raise _MayPassError(what)
    raise GitHubError(what)


def _words(answer: requests.Response) -> str:
    try:
        said = " ".join(text(answer.json(), "message").split())
    except (*MALFORMED, requests.RequestException):
        return ""
    return f" ({said[:_SHOWN]})" if said else ""


def _read(answer: requests.Response, kind: Any) -> Any:
    """Return the body of `answer` as the type `kind`; raise `GitHubError` if it is another."""
    where = _bare(answer.url)
    try:
        return decode(kind, answer.json(), "the response")
    except MALFORMED as error:
        raise GitHubError(f"{where}: GitHub's response cannot be read: {error}") from None


def _number(text: str) -> float:
    return float(text) if text.isdecimal() else 0.0


def _bare(url: str) -> str:
    return url.partition("?")[0]
