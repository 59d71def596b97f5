"""Timeouts for waits that no requirement limits."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from harness.core.settings import MAX_RESTARTS, STARTUP_SECONDS, default_number
from harness.verify.limits import PROMISED, TimeLimits

STARTUP_LONGEST = 300
MARGIN = 15
"""Seconds for the engine, the entrypoint and the proxy, on top of the regions' start time."""
PROXY_CHECK_SECONDS = 1.2
"""Seconds, rounded up, until the proxy's next check sees a region that is back."""


@dataclass(frozen=True, kw_only=True)
class Budgets:
    """Seconds, except the health check. They scale with the image; `TimeLimits` never do."""

    ready: float  # until all regions of another container answer
    requests: float  # until the load has reached every region
    recovery: float  # until a killed region answers again or the container exits
    health_ms: float  # one run of the health check, in milliseconds

    @classmethod
    def from_ready(cls, seconds: float, times: TimeLimits, *, longest: float) -> Self:
        """Budgets for an image whose first container was ready after `seconds`.

        A region that starts alone is ready sooner than twelve that share the cores, so the
        measured time is enough for one restart. `longest` caps the wait for ready.
        """
        return cls(
            ready=min(max(times.ready, 3 * seconds), longest),
            requests=max(times.ready, seconds),
            recovery=max(times.ready, 2 * seconds + longest_pause() + PROXY_CHECK_SECONDS),
            health_ms=times.health_ms * max(1.0, seconds / times.ready),
        )


def longest_pause() -> float:
    """Seconds before the last restart that the budget allows: 0.2, 0.4, 0.8, up to 25.6 s."""
    return 0.1 * float(1 << min(default_number(MAX_RESTARTS), 8))


def patience(environ: Sequence[str], times: TimeLimits = PROMISED) -> float:
    """Seconds to wait for the first container to become ready.

    This is the start timeout in the image's `Env` (`environ`) plus a margin. A value that the image
    rejects counts as the default.
    """
    given = dict(entry.partition("=")[::2] for entry in environ).get(STARTUP_SECONDS, "")
    seconds = int(given) if re.fullmatch("[0-9]{1,6}", given) else default_number(STARTUP_SECONDS)
    return max(min(seconds, STARTUP_LONGEST) + MARGIN, times.ready)
