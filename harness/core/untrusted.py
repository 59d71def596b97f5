"""What comes from outside and is not as it should be: every way in which reading it can fail."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from harness.core.errors import HarnessError

MOST_BYTES = 4 << 20
"""Of an answer that is kept in memory; a registry need not take larger manifests either.

https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#pushing-manifests
"""

UNREADABLE = (
    ArithmeticError,  # 1e400 as a whole number
    AttributeError,
    LookupError,
    RecursionError,  # brackets in brackets
    TypeError,
    ValueError,
)


@contextmanager
def reading(what: str, error: type[HarnessError], remedy: str) -> Iterator[None]:
    """Turns a failure to read `what` into `error`, which says what to do: `remedy`."""
    try:
        yield
    except UNREADABLE as problem:
        raise error(
            f"{what} cannot be read ({type(problem).__name__}: {problem}): {remedy}"
        ) from problem


class TooLargeError(requests.RequestException):
    """A server sends more than anybody asked for, perhaps without an end."""


def bounded_session() -> requests.Session:
    """A session whose answers are read to at most `MOST_BYTES`, unless they are streamed.

    Beyond that, in redirects too, its requests raise `TooLargeError`.
    """
    session = requests.Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, _BoundedAdapter())
    return session


class _BoundedAdapter(HTTPAdapter):
    def send(  # type: ignore[override] # sessions name every option
        self, request: requests.PreparedRequest, *, stream: bool, **options: Any
    ) -> requests.Response:
        answer = super().send(request, stream=stream, **options)
        # What a redirect says is read whole by requests, streamed or not.
        if not stream or answer.is_redirect:
            answer.raw.stream = _bounded(answer.raw.stream)  # type: ignore[method-assign]
        return answer


def _bounded(stream: Callable[..., Iterator[bytes]]) -> Callable[..., Iterator[bytes]]:
    def pieces(*arguments: Any, **options: Any) -> Iterator[bytes]:
        size = 0
        for piece in stream(*arguments, **options):
            size += len(piece)
            if size > MOST_BYTES:
                raise TooLargeError(f"the answer is too large, more than {MOST_BYTES} bytes")
            yield piece

    return pieces
