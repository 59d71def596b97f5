"""Validation of untrusted input: every way in which reading it can fail."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from harness.core.errors import HarnessError

MOST_BYTES = 4 << 20
"""Size limit of a response kept in memory; registries need not accept larger manifests either.

https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#pushing-manifests
"""

# 1e400 as an integer, deeply nested brackets, any other invalid value.
MALFORMED = (ArithmeticError, RecursionError, ValueError)
"""Reading a document with `harness.core.decode` fails with one of these, and no defect of ours."""


@contextmanager
def reading(what: str, error: type[HarnessError], remedy: str) -> Iterator[None]:
    """Turn a failure to read `what` into `error`, which names the `remedy`.

    The block reads with `harness.core.decode`, so that a defect of ours does not blame the data.
    """
    try:
        yield
    except MALFORMED as problem:
        raise error(
            f"{what} cannot be read ({type(problem).__name__}: {problem}): {remedy}"
        ) from problem


class TooLargeError(requests.RequestException):
    """A response exceeds the size limit and may be endless."""


def bounded_session() -> requests.Session:
    """A session that caps responses at `MOST_BYTES`, unless they are streamed.

    Larger responses, redirects included, raise `TooLargeError`.
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
        # requests reads the whole body of a redirect, streamed or not.
        if not stream or answer.is_redirect:
            answer.raw.stream = _bounded(answer.raw.stream)  # type: ignore[method-assign]
        return answer


def _bounded(stream: Callable[..., Iterator[bytes]]) -> Callable[..., Iterator[bytes]]:
    def pieces(*arguments: Any, **options: Any) -> Iterator[bytes]:
        size = 0
        for piece in stream(*arguments, **options):
            size += len(piece)
            if size > MOST_BYTES:
                raise TooLargeError(f"the response exceeds the limit of {MOST_BYTES} bytes")
            yield piece

    return pieces
