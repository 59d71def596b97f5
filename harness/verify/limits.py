"""Time limits of the requirements, and the relaxed ones for an emulator."""

from dataclasses import dataclass

from harness.core.recorder import Limits


@dataclass(frozen=True, kw_only=True)
class TimeLimits:
    """The largest times allowed; seconds, except the health check.

    They do not depend on the image's speed; those that do are in `harness.verify.budgets`.
    """

    ready: float  # SC-002: from the container's start until every region answers
    stop: float  # SC-003: from the signal to the container's exit
    give_up: float  # from the signal until the container is killed
    health_ms: float  # one run of the health check, in milliseconds
    note: str = ""  # appended to every limit in the reports

    def seconds(self, bound: float) -> Limits:
        """`bound` as a check's limit."""
        return Limits(unit="s", bound=bound, note=self.note)

    def milliseconds(self, bound: float) -> Limits:
        """`bound` as a check's limit."""
        return Limits(unit="ms", bound=bound, note=self.note)


PROMISED = TimeLimits(ready=10, stop=5, give_up=15, health_ms=50)

# Five times what twelve stand-ins took on two cores shared with six others (QEMU 7.2, load of 30):
# ready after 7.6 s, stopped after 1.7 s, health check in 199 ms. They show that the image works,
# not how fast it is.
EMULATED = TimeLimits(ready=40, stop=10, give_up=30, health_ms=1000, note="emulated")
