"""What comes from outside and is not as it should be: every way in which reading it can fail."""

from collections.abc import Iterator
from contextlib import contextmanager

from harness.errors import HarnessError

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
