"""The only way to wait: until a condition holds, never for a fixed time."""

from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from harness.core.errors import WaitTimeoutError

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T],
    *,
    timeout: float,
    what: str,
    interval: float = 0.05,
    explain: Callable[[], str] = str,
) -> T:
    """Call `condition` until its result is true and return that result.

    `timeout` and `interval` are seconds; `what` completes "waiting until …". `explain` is called
    once, after the last attempt, for the state to put into the `WaitTimeoutError`. An exception
    from `condition` ends the wait.
    """
    attempts = Retrying(
        retry=retry_if_result(lambda result: not result),
        stop=stop_after_delay(timeout),
        wait=wait_fixed(interval),
    )
    try:
        return attempts(condition)
    except RetryError:
        state = explain()
    message = f"timed out after {timeout:g} s waiting until {what}"
    raise WaitTimeoutError(message + (f"\n{state}" if state else ""))
