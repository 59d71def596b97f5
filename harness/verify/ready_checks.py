"""SC-002 (ready within 10 s)."""

from collections.abc import Iterator, Mapping, Sequence

from harness.core.console import say
from harness.engine.container import TAIL_LINES, RunningContainer
from harness.engine.logs import NO_REGION
from harness.verify.target import Target
from harness.verify.watch import Watch


def check_ready(target: Target, container: RunningContainer, watch: Watch) -> None:
    """SC-002 and the first half of US-2: every region's milliseconds to ready.

    A start that misses the limit is still measured, up to the image's own start timeout. Sets
    `target.ready_seconds`, from which the budgets of all later checks follow, and
    `target.never_ready`.
    """
    title = f"all {len(target.regions)} regions answer HTTP on their published ports"
    with target.recorder.check(
        "SC-002",
        title,
        limits=target.times.seconds(target.times.ready),
        scenario=watch.name,
        headline=True,
    ) as finding:
        milliseconds = _measure_ready(target, container, watch)
        target.ready_seconds = max(milliseconds.values(), default=0.0) / 1000
        late = tuple(name for name in target.names if name not in milliseconds)
        target.never_ready = late
        finding.note = ", ".join(
            f"{name} {milliseconds[name]:.0f} ms" for name in target.names if name in milliseconds
        )
        if not late:
            finding.value = target.ready_seconds
            return
        finding.measured = f"{len(milliseconds)} of {len(target.names)} regions"
        if container.dead.is_set():
            finding.fail(container.obituary())
        else:
            finding.fail(f"not ready within {target.patience:g} s: {', '.join(late)}")
            finding.note += "\n" + "\n".join(_last_lines(container, late))


def _measure_ready(
    target: Target, container: RunningContainer, watch: Watch
) -> Mapping[str, float]:
    """Each ready region's milliseconds; reports when it waits beyond the limit."""
    milliseconds = watch.await_ready(target.times.ready)
    if len(milliseconds) == len(target.names) or container.dead.is_set():
        return milliseconds
    say(
        f"    {len(milliseconds)} of {len(target.names)} regions are ready after"
        f" {target.times.ready:g} s; waiting up to {target.patience:g} s"
    )
    return watch.await_ready(target.patience)


def _last_lines(container: RunningContainer, regions: Sequence[str]) -> Iterator[str]:
    """The last log lines of these regions and of the container itself."""
    for name, lines in container.log.tail(TAIL_LINES).items():
        if name in {*regions, NO_REGION}:
            yield f"last lines of {name}:"
            yield from (f"  {line}" for line in lines)
