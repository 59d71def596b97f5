"""Measure the container's idle CPU and memory, and one health check."""

from collections.abc import Iterator
from dataclasses import dataclass

from harness.core.regions import BINARY_PREFIX
from harness.engine.container import Options, RunningContainer, created
from harness.verify import inside
from harness.verify.limits import PROMISED
from harness.verify.service_checks import health_milliseconds
from harness.verify.target import Target
from harness.verify.watch import Watch

from .bare import READY_SECONDS
from .measure import Measure, measure, median

IDLE_SECONDS = 10.0
CPU_LIMIT = 0.25  # percent of a core
MEMORY_LIMIT = 26.0  # MB
# Per process: ID, nanoseconds on a processor (proc(5), schedstat), resident kB, program.
_COSTS = r"""
exec 2>/dev/null # processes may exit during the loop
for process in /proc/[0-9]*; do
  read -r time _ <"$process/schedstat" || continue
  memory=$(awk '/^VmRSS:/ { print $2 }' "$process/status")
  program=$(tr '\0' '\n' <"$process/cmdline" | head -n 1)
  printf '%s %s %s %s\n' "${process#/proc/}" "$time" "${memory:-0}" "$program"
done
"""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """CPU time and memory of one process."""

    nanoseconds: int
    kilobytes: int


def measure_steady(target: Target) -> Iterator[Measure]:
    """Yield rows for the health check, and for all idle processes except the plugins."""
    options = Options(ports=target.ports)
    with created(target.client, target.reference, target.names, options) as container:
        container.start(target.ports)
        watch = Watch(name="bench", title="", container=container, regions=target.regions)
        watch.await_ready(READY_SECONDS)
        container.expect_alive()
        checks = health_milliseconds(target, container)
        yield measure(
            group="health",
            name="one health check",
            value=median(checks),
            unit="ms",
            bound=PROMISED.health_ms,
            runs=tuple(checks),
        )
        yield from _idle(container)


def _idle(container: RunningContainer) -> Iterator[Measure]:
    before = _costs(container)
    container.dead.wait(IDLE_SECONDS)  # the measured interval
    container.expect_alive()
    after = _costs(container)
    lasting = before.keys() & after.keys()
    used = sum(after[pid].nanoseconds - before[pid].nanoseconds for pid in lasting)
    yield measure(
        group="idle",
        name="idle processor time of all but the plugins",
        value=100 * used / (IDLE_SECONDS * 1e9),
        unit="% of a core",
        bound=CPU_LIMIT,
    )
    yield measure(
        group="memory",
        name="memory of all but the plugins",
        value=sum(after[pid].kilobytes for pid in lasting) * 1024 / 1e6,
        unit="MB",
        bound=MEMORY_LIMIT,
    )


def _costs(container: RunningContainer) -> dict[int, Cost]:
    found = {}
    for line in inside.shell(container, _COSTS).splitlines():
        pid, nanoseconds, kilobytes, program = line.split(" ", 3)
        if BINARY_PREFIX not in program:
            found[int(pid)] = Cost(nanoseconds=int(nanoseconds), kilobytes=int(kilobytes))
    return found
