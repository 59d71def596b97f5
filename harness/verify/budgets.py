"""Timeouts for waits that no requirement limits."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from harness.verify.limits import PROMISED, TimeLimits

STARTUP_VARIABLE = "FINFOCUS_STARTUP_SECONDS"
STARTUP_DEFAULT = 120
STARTUP_LONGEST = 300
MARGIN = 15
"""Seconds for the engine, the entrypoint and the proxy, on top of the regions' start time."""
RESTART_PAUSES = 2
"""Seconds: the longest backoff of three restarts (0.8 s) plus the proxy's next check."""


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
            recovery=max(times.ready, 2 * seconds + RESTART_PAUSES),
            health_ms=times.health_ms * max(1.0, seconds / times.ready),
        )


def patience(environ: Sequence[str], times: TimeLimits = PROMISED) -> float:
    """Seconds to wait for the first container to become ready.

    This is the start timeout in the image's `Env` (`environ`) plus a margin. A value that the image
    rejects counts as the default.
    """
    given = dict(entry.partition("=")[::2] for entry in environ).get(STARTUP_VARIABLE, "")
    seconds = int(given) if re.fullmatch("[0-9]{1,6}", given) else STARTUP_DEFAULT
    return max(min(seconds, STARTUP_LONGEST) + MARGIN, times.ready)
