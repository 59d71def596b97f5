"""Readiness and stop of the container against the same binaries started bare.

The container publishes no port, like a pod on Kubernetes, and is asked at its own address: what an
engine does for published ports is its own affair, and takes longer than the start. One row has it,
beside the same engine and ports with a program that does nothing.
"""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.core.errors import HarnessError
from harness.engine.container import Options, created, running
from harness.verify.target import Target
from harness.verify.watch import Watch

from .bare import READY_SECONDS, bare_regions, first_answers
from .measure import Measure, alternate, measure, median

ROUNDS = 5
STOP_SECONDS = 0.025  # from SIGTERM to the exit of PID 1, nothing being asked
STARTS = {
    "instant start": {},
    "CPU-heavy start": {"STANDIN_START_CPU": "300ms"},  # of one core, in each of the twelve
}


def measure_lifecycle(target: Target, binaries: Path) -> Iterator[Measure]:
    """Rows for readiness and stop, for each kind of start, and for published ports."""
    for name, environ in STARTS.items():
        ours, bare = [], []
        for _ in range(ROUNDS):  # in turn, so that a drift hits both alike
            ours.append(_contained(target, environ))
            bare.append(_bare(binaries, target, environ))
        ready, exits, told = zip(*ours, strict=True)
        bare_ready, bare_stops = (median(seconds) for seconds in zip(*bare, strict=True))
        yield measure(
            group="ready",
            name=f"ready, {name}",
            value=median(ready),
            unit="s",
            beside={"bare": bare_ready},
            rule="1.10 × bare + 0.3 s",
            bound=1.10 * bare_ready + 0.3,
            runs=ready,
        )
        yield measure(
            group="stop",
            name=f"SIGTERM to exit, {name}",
            value=median(exits),
            unit="s",
            beside={"bare": bare_stops, "as the engine tells": median(told)},
            bound=STOP_SECONDS,
            runs=exits,
        )
    yield _measure_published(target)


def _measure_published(target: Target) -> Measure:
    ready, engine = alternate(ROUNDS, lambda: _published(target), lambda: _engine_alone(target))
    return measure(
        group="ready",
        name=f"ready, instant start, {len(target.ports)} published ports",
        value=median(ready),
        unit="s",
        beside={"the engine alone": median(engine)},
        runs=ready,
    )


def _bare(binaries: Path, target: Target, environ: Mapping[str, str]) -> tuple[float, float]:
    """Seconds to ready, and from SIGTERM to the last exit."""
    with bare_regions(binaries, target.regions, environ) as regions:
        return max(regions.first_answers()), regions.stop()


def _contained(target: Target, environ: Mapping[str, str]) -> tuple[float, float, float]:
    """Seconds to ready, from SIGTERM to the exit of PID 1, and to the engine's word of it."""
    options = Options(environ=environ)
    with running(target.client, target.reference, target.names, options) as container:
        ports = [region.port for region in target.regions]
        ready = max(first_answers(ports, container.address())) - container.started_at
        sent = container.signal("SIGTERM")
        if not container.wait_dead(30):
            raise HarnessError("it runs 30 s after SIGTERM: see `harness verify`")
        return ready, container.exit_time() - sent, container.ended_at - sent


def _published(target: Target) -> float:
    """Seconds to ready through published ports."""
    options = Options(ports=target.ports)
    with running(target.client, target.reference, target.names, options) as container:
        watch = Watch(name="bench", title="", container=container, regions=target.regions)
        ready = watch.await_ready(READY_SECONDS)
        container.expect_alive()
        if len(ready) < len(target.regions):
            raise HarnessError(f"not ready within {READY_SECONDS:g} s: see `harness verify`")
        return max(ready.values()) / 1000


def _engine_alone(target: Target) -> float:
    """Seconds until the engine says that the same container with `sleep` in it is started."""
    options = Options(ports=target.ports, extra={"entrypoint": ["sleep", "60"]})
    with created(target.client, target.reference, target.names, options) as container:
        container.start(())
        return time.monotonic() - container.started_at
