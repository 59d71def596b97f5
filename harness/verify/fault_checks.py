"""FR-017: a failed region is restarted; one that keeps failing stops the container."""

from harness.core.proof import CONTAINER, EventKind
from harness.core.recorder import Limits
from harness.core.regions import Region
from harness.core.settings import MAX_RESTARTS, default_number
from harness.engine.container import RunningContainer
from harness.verify import inside
from harness.verify.log_checks import check_own_lines
from harness.verify.target import Target
from harness.verify.traffic import Load
from harness.verify.watch import Watch


def region_fails(target: Target) -> None:
    """Kill one region until its restart budget is spent, with requests to all regions."""
    with target.scenario("a region fails", "one region is killed repeatedly") as (
        container,
        watch,
    ):
        container.start(target.ports)
        watch.await_ready(target.budgets.ready)
        # A region that was never ready has failed SC-002; here it would fail every request.
        regions = [region for region in target.regions if region.name not in target.never_ready]
        victim = regions[len(regions) // 2]
        with watch.load() as load:
            load.await_requests(1, timeout=target.budgets.requests)
            _check_restarts(target, container, watch, load, victim)
            others = [region.name for region in regions if region != victim]
            _check_others(target, watch, load, others)
            _check_end(target, container, watch, victim)
        if container.dead.is_set():
            check_own_lines(target, container, watch)


def _check_restarts(
    target: Target, container: RunningContainer, watch: Watch, load: Load, victim: Region
) -> None:
    limit = target.budgets.recovery
    restarts = default_number(MAX_RESTARTS)
    with target.recorder.check(
        "FR-017",
        "a killed region answers again, until its restart budget is spent",
        limits=Limits(floor=restarts, bound=restarts),
        scenario=watch.name,
        container=container,
    ) as finding:
        recovered = []
        for _ in range(restarts):
            killed = _kill(container, watch, victim, target.regions)
            load.wait_for(victim.name, up=False, timeout=limit)
            if not load.wait_for(victim.name, up=True, timeout=limit):
                finding.fail(f"{victim.name} did not answer again within {limit:g} s")
                break
            container.expect_alive()
            recovered.append(watch.elapsed() - killed)
        finding.value = len(recovered)
        finding.note = "down for " + ", ".join(f"{seconds:.2f} s" for seconds in recovered)


def _check_others(target: Target, watch: Watch, load: Load, others: list[str]) -> None:
    failures = {name: load.failures[name] for name in others if load.failures[name]}
    with target.recorder.check(
        "FR-017",
        "the other regions lose no request meanwhile",
        limits=Limits(bound=0),
        scenario=watch.name,
    ) as finding:
        total = sum(load.requests[name] for name in others)
        finding.value = sum(failures.values())
        finding.measured = f"{finding.value} of {total} requests"
        finding.expect(total or not others, "no request was made")
        for name, count in failures.items():
            finding.fail(f"{name} lost {count} of {load.requests[name]} requests")


def _check_end(target: Target, container: RunningContainer, watch: Watch, victim: Region) -> None:
    limit = target.budgets.recovery
    with target.recorder.check(
        "FR-017",
        "a region that exceeds its restart budget stops the container, which logs the reason",
        limit="exit code not 0",
        scenario=watch.name,
        container=container,
    ) as finding:
        _kill(container, watch, victim, target.regions)
        if not container.wait_dead(limit):
            finding.fail(f"the container is still running {limit:g} s later")
            return
        watch.event(CONTAINER, EventKind.EXIT, f"exit {container.exit_code}")
        last = container.log.last.text if container.log.last else ""
        finding.measured = f"exit {container.exit_code}"
        finding.note = last
        finding.expect(container.exit_code, "the exit code is 0")
        finding.expect(victim.name in last, f"the last line does not name {victim.name}: {last}")


def _kill(
    container: RunningContainer, watch: Watch, victim: Region, regions: tuple[Region, ...]
) -> float:
    """Kill the region's process; return the scenario's seconds at that moment."""
    pid = inside.plugins(container, regions)[victim.name]
    watch.event(victim.name, EventKind.FAULT, "SIGKILL")
    killed = watch.elapsed()
    inside.shell(container, f"kill -KILL {pid}")
    return killed
