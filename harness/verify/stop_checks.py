"""SC-003: stop in time with code 0, in any state of the container."""

from docker.errors import APIError

from harness.core.proof import CONTAINER, EventKind
from harness.core.recorder import SHOWN, Limits, Observation
from harness.engine.container import RunningContainer
from harness.verify.target import Target
from harness.verify.watch import Watch


def stop_and_check(
    target: Target,
    container: RunningContainer,
    watch: Watch,
    *,
    requirement: str = "SC-003",
    signal: str = "SIGTERM",
    title: str,
    headline: bool = True,
) -> None:
    """Send the signal; measure the time to exit, the exit code and the surviving processes."""
    times = target.times
    limits = times.seconds(times.stop)
    with target.recorder.check(
        requirement,
        title,
        limits=limits,
        limit=f"{limits.text}, exit 0",
        scenario=watch.name,
        headline=headline,
        container=container,
    ) as finding:
        if container.dead.is_set():
            return  # the recorder has reported it
        sent = watch.signal(signal)
        if not container.dead.wait(times.stop):
            _note_survivors(container, finding, times.stop)
        if container.wait_dead(times.give_up - times.stop):
            finding.value = container.ended_at - sent
            finding.measured = f"{finding.value:.2f} s, exit {container.exit_code}"
            finding.expect(container.exit_code == 0, f"exit code {container.exit_code}")
            watch.event(CONTAINER, EventKind.STOPPED, f"exit {container.exit_code}")
        else:
            finding.fail(f"it is still running {times.give_up:g} s after {signal}")
            container.signal("SIGKILL")
            container.wait_dead(times.give_up)
            watch.event(CONTAINER, EventKind.KILLED)


def _note_survivors(container: RunningContainer, finding: Observation, limit: float) -> None:
    try:
        top = container.container.top(ps_args="-eo pid,args")
    except APIError:  # It has just exited: the measured time says how late that was.
        return
    commands = [" ".join(row[1:]) for row in top.get("Processes") or []]
    shown = "; ".join(command[:100] for command in commands[:SHOWN])
    finding.fail(f"{len(commands)} processes still running after {limit:g} s: {shown}")


def check_forwarding(target: Target, container: RunningContainer, watch: Watch) -> None:
    """FR-006: every region logged after the signal, so the signal reached it."""
    count = len(target.regions)
    with target.recorder.check(
        "FR-006",
        "every region exits on the forwarded SIGTERM",
        limits=Limits(floor=count, bound=count),
        scenario=watch.name,
    ) as finding:
        told = watch.signalled_at or 0.0
        after = [n for n in target.names if container.log.last_at.get(n, 0) > told > 0]
        finding.value = len(after)
        finding.measured = f"{len(after)} regions logged their shutdown"
        for name in target.names:
            finding.expect(name in after, f"{name} logged nothing after the signal")


def stopped_under_load(target: Target) -> None:
    """SC-003 while requests are in flight on every port."""
    with target.scenario(
        "under load",
        "SIGTERM arrives while every region answers requests",
        stop_limit=target.times.stop,
    ) as (container, watch):
        container.start(target.ports)
        watch.await_ready(target.budgets.ready)
        with watch.load() as load:
            load.await_requests(5, timeout=target.budgets.requests)
            stop_and_check(target, container, watch, title="SIGTERM under load")


def stopped_while_starting(target: Target) -> None:
    """SC-003 during the start: at the first log line, and with some regions ready."""
    with target.scenario(
        "while starting", "SIGTERM arrives at the first log line", stop_limit=target.times.stop
    ) as (container, watch):
        container.start(target.ports)
        container.log.wait_for(lambda: container.log.lines > 0, timeout=target.budgets.ready)
        stop_and_check(target, container, watch, title="SIGTERM while starting")
    total = len(target.regions)
    for count in sorted({1, total // 2} & {*range(1, total)}):
        _stopped_with_some_ready(target, count)


def _stopped_with_some_ready(target: Target, count: int) -> None:
    """SC-003 during the start: `count` regions are ready, the others are starting or waiting."""
    moment = f"{count} of {len(target.regions)} regions ready"
    with target.scenario(
        f"while starting, {moment}",
        f"SIGTERM arrives during the start: {moment}",
        stop_limit=target.times.stop,
    ) as (container, watch):
        container.start(target.ports)
        watch.await_ready(target.budgets.ready, count=count)
        stop_and_check(
            target,
            container,
            watch,
            title=f"SIGTERM while starting, {moment}",
            headline=False,
        )


def interrupted(target: Target) -> None:
    """US-2: a developer's Ctrl+C."""
    with target.scenario(
        "Ctrl+C", "a developer starts it and presses Ctrl+C", stop_limit=target.times.stop
    ) as (container, watch):
        container.start(target.ports)
        watch.await_ready(target.budgets.ready)
        stop_and_check(
            target,
            container,
            watch,
            requirement="US-2",
            signal="SIGINT",
            title="it starts, logs, and Ctrl+C stops it",
            headline=False,
        )


def restricted(target: Target) -> None:
    """FR-007 with the strictest settings an operator would use."""
    extra = {
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "user": "12345:0",
    }
    count = len(target.regions)
    with target.scenario(
        "restricted",
        "read-only, no capabilities, a random UID",
        extra=extra,
        stop_limit=target.times.stop,
    ) as (container, watch):
        with target.recorder.check(
            "FR-007",
            "works read-only, without capabilities, with any UID",
            limits=Limits(floor=count, bound=count),
            scenario=watch.name,
        ) as finding:
            container.start(target.ports)
            budget = target.budgets.ready
            ready = watch.await_ready(budget)
            container.expect_alive()
            for name in target.names:
                finding.expect(name in ready, f"{name} is not ready within {budget:g} s")
            finding.value = len(ready)
            slowest = max(ready.values(), default=0) / 1000
            finding.measured = f"{len(ready)} regions ready, the last after {slowest:.2f} s"
        stop_and_check(
            target,
            container,
            watch,
            title="SIGTERM when restricted",
            headline=False,
        )
