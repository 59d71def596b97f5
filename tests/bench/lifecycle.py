"""Compare readiness and stop of the container with the same binaries started bare.

The container publishes no ports, like a pod on Kubernetes, and is probed at its own address: the
engine takes longer to publish ports than the image to start. One row measures published ports,
compared with the same engine and ports with an idle program.
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
STOP_SECONDS = 0.025  # from SIGTERM to the exit of PID 1, without load
STARTS = {
    "instant start": {},
    "CPU-heavy start": {"STANDIN_START_CPU": "300ms"},  # of one core, in each of the twelve
}


def measure_lifecycle(target: Target, binaries: Path) -> Iterator[Measure]:
    """Yield rows for readiness and stop, for each kind of start, and for published ports."""
    for name, environ in STARTS.items():
        ours, bare = [], []
        for _ in range(ROUNDS):  # alternating, so that drift affects both equally
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
    """Return the seconds to ready, and from SIGTERM to the last exit."""
    with bare_regions(binaries, target.regions, environ) as regions:
        return max(regions.first_answers()), regions.stop()


def _contained(target: Target, environ: Mapping[str, str]) -> tuple[float, float, float]:
    """Return the seconds to ready, from SIGTERM to exit of PID 1, and to the engine's report."""
    options = Options(environ=environ)
    with running(target.client, target.reference, target.names, options) as container:
        ports = [region.port for region in target.regions]
        ready = max(first_answers(ports, container.address())) - container.started_at
        sent = container.signal("SIGTERM")
        if not container.wait_dead(30):
            raise HarnessError(
                "the container still runs 30 s after SIGTERM: run `harness verify` to diagnose"
            )
        return ready, container.exit_time() - sent, container.ended_at - sent


def _published(target: Target) -> float:
    """Return the seconds to ready through published ports."""
    options = Options(ports=target.ports)
    with running(target.client, target.reference, target.names, options) as container:
        watch = Watch(name="bench", title="", container=container, regions=target.regions)
        ready = watch.await_ready(READY_SECONDS)
        container.expect_alive()
        if len(ready) < len(target.regions):
            raise HarnessError(
                f"not ready within {READY_SECONDS:g} s: run `harness verify` to diagnose"
            )
        return max(ready.values()) / 1000


def _engine_alone(target: Target) -> float:
    """Return the seconds until the engine reports the same container running `sleep` as started."""
    options = Options(ports=target.ports, extra={"entrypoint": ["sleep", "60"]})
    with created(target.client, target.reference, target.names, options) as container:
        container.start(())
        return time.monotonic() - container.started_at
