"""Checks of the steady state: calls, processes, environment, health, metrics."""

import json
import statistics
import time
from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from harness.core.decode import member
from harness.core.errors import HarnessError
from harness.core.proof import EventKind
from harness.core.recorder import Limits, Observation
from harness.core.regions import METRICS_PORT
from harness.core.untrusted import MALFORMED
from harness.engine.container import RunningContainer
from harness.verify import inside
from harness.verify.environment_checks import check_environment
from harness.verify.probe import body_of
from harness.verify.target import Target
from harness.verify.watch import Watch

HEALTH_RUNS = 10
COUNT_ATTEMPTS = 3
NAME_PATH = "/finfocus.v1.CostSourceService/Name"


def check_service(target: Target, container: RunningContainer, watch: Watch) -> None:
    """Check everything that a healthy container shows from outside."""
    check_answers(target, container, watch)
    check_environment(target, container, watch)
    _check_health_time(target, container, watch)
    _check_frozen(target, container, watch)


def check_answers(target: Target, container: RunningContainer, watch: Watch) -> None:
    """Check that processes, calls, health check and metrics are as they should be."""
    _check_http(target, container, watch)
    _check_processes(target, container, watch)
    _check_health(target, container, watch)
    _check_metrics(target, container, watch)


def _check_http(target: Target, container: RunningContainer, watch: Watch) -> None:
    count = len(target.regions)
    title = "every region answers a Connect call over HTTP/1.1"
    with target.recorder.check(
        "FR-016",
        title,
        limits=Limits(floor=count, bound=count),
        scenario=watch.name,
        container=container,
    ) as finding:
        names = []
        for region in target.regions:
            try:
                answer = body_of(container.url(region.port, NAME_PATH), call=True)
                names.append(member(json.loads(answer), str, "name"))
            except (HarnessError, *MALFORMED) as error:
                finding.fail(f"{region.name}: {error}")
        finding.value = len(names)
        finding.note = f"answered by {', '.join(sorted(set(names)))}" if names else ""


def _check_processes(target: Target, container: RunningContainer, watch: Watch) -> None:
    count = len(target.regions)
    title = "a shell entrypoint runs every region at once"
    with target.recorder.check(
        "FR-005",
        title,
        limits=Limits(floor=count, bound=count),
        scenario=watch.name,
        container=container,
    ) as finding:
        finding.value = len(inside.plugins(container, target.regions))
        entrypoint = (target.config.get("Entrypoint") or [""])[0]
        first = inside.shell(container, f"head -n 1 '{entrypoint}'").strip()
        finding.note = f"{entrypoint}: {first}"
        finding.expect(
            first.startswith("#!") and "sh" in first, f"{entrypoint} is not a shell script"
        )
    with target.recorder.check(
        "FR-007", "no process runs as root", scenario=watch.name, container=container
    ) as finding:
        uids = {process.uid for process in inside.processes(container)}
        finding.measured = "UID " + ", ".join(str(uid) for uid in sorted(uids))
        finding.expect(uids == {65532}, f"processes run as {finding.measured}, not as UID 65532")


def _health_command(target: Target) -> list[str]:
    test = list((target.config.get("Healthcheck") or {}).get("Test") or [])
    match test:
        case ["CMD", *command] if command:
            return command
        case ["CMD-SHELL", script]:
            return ["sh", "-c", script]
    raise HarnessError("the image has no health check")


def _check_health(target: Target, container: RunningContainer, watch: Watch) -> None:
    with target.recorder.check(
        "FR-015",
        "the health check passes without output",
        scenario=watch.name,
        container=container,
    ) as finding:
        code, output = container.execute(_health_command(target))
        finding.measured = f"exit {code}"
        finding.expect(code == 0, f"exit {code}: {output.decode(errors='replace').strip()}")
        finding.expect(not output, "it prints output although it passes")


def _check_health_time(target: Target, container: RunningContainer, watch: Watch) -> None:
    with target.recorder.check(
        "FR-015",
        "one health check is fast",
        limits=target.times.milliseconds(target.budgets.health_ms),
        scenario=watch.name,
        container=container,
        headline=True,
    ) as finding:
        finding.value = statistics.median(health_milliseconds(target, container))


def health_milliseconds(target: Target, container: RunningContainer) -> list[float]:
    """Time of one probe in each of three rounds, without the engine's exec overhead."""

    def seconds(runs: int) -> float:
        loop = f'i=0; while [ $i -lt {runs} ]; do "$@" || exit 1; i=$((i+1)); done'
        began = time.monotonic()
        code, _ = container.execute(["sh", "-c", loop, "sh", *_health_command(target)])
        if code != 0:
            raise HarnessError("the health check fails")
        return time.monotonic() - began

    return [1000 * max(seconds(HEALTH_RUNS) - seconds(0), 0.0) / HEALTH_RUNS for _ in range(3)]


def _check_frozen(target: Target, container: RunningContainer, watch: Watch) -> None:
    """Check that the health check fails for a region that hangs, and names it."""
    victim = target.regions[-1]
    with target.recorder.check(
        "FR-015",
        "the health check fails and names a region that hangs",
        scenario=watch.name,
        container=container,
    ) as finding:
        pid = inside.plugins(container, target.regions)[victim.name]
        watch.event(victim.name, EventKind.FAULT, "frozen")
        inside.shell(container, f"kill -STOP {pid}")
        try:
            code, output = container.execute(_health_command(target))
        finally:
            inside.shell(container, f"kill -CONT {pid}")
            watch.event(victim.name, EventKind.UP, "thawed")
        text = output.decode(errors="replace").strip()
        finding.measured = f"exit {code}: {text}"
        finding.expect(code != 0, f"it passes although {victim.name} hangs")
        finding.expect(victim.name in text, f"it does not name {victim.name}: {text!r}")


def _check_metrics(target: Target, container: RunningContainer, watch: Watch) -> None:
    title = "metrics on 9090: health and requests of every region"
    with target.recorder.check(
        "FR-019", title, scenario=watch.name, container=container
    ) as finding:
        text = _metrics(container)
        _check_families(text)
        before, health = _totals(text, "requests_total"), _totals(text, "up")
        for name in target.names:
            finding.expect(health.get(name) == 1, f"{name} has no health metric of 1")
        _count_requests(target, container, before, finding)
        finding.measured = f"{len(health)} regions with health, {len(before)} with requests"
    title = "each region is behind its own port"
    with target.recorder.check(
        "FR-012", title, scenario=watch.name, container=container
    ) as finding:
        right = 0
        counts = _requests(container)
        for region in target.regions:
            counted: set[str] = set()
            # The engine's own health check requests all regions: retry if it interferes.
            for _ in range(COUNT_ATTEMPTS):
                body_of(container.url(region.port, NAME_PATH), call=True)
                earlier, counts = counts, _requests(container)
                counted = {name for name in counts if counts[name] > earlier.get(name, 0)}
                if counted == {region.name}:
                    break
            right += counted == {region.name}
            finding.expect(
                counted == {region.name},
                f"a call to {region.port} was counted for {', '.join(counted) or 'no region'}",
            )
        finding.measured = f"{right} of {len(target.regions)} ports"


def _count_requests(
    target: Target, container: RunningContainer, before: Mapping[str, float], finding: Observation
) -> None:
    for region in target.regions:
        body_of(container.url(region.port, NAME_PATH), call=True)
    after = _requests(container)
    for name in target.names:
        more = after.get(name, 0) - before.get(name, 0)
        finding.expect(more >= 1, f"{name}: a request was not counted")


def _metrics(container: RunningContainer) -> str:
    return body_of(container.url(METRICS_PORT, "/metrics")).decode()


def _requests(container: RunningContainer) -> Mapping[str, float]:
    """Requests of each region so far."""
    return _totals(_metrics(container), "requests_total")


def _check_families(text: str) -> None:
    """Raise `ValueError` if `text` is not valid, and `HarnessError` if a family appears twice."""
    seen: set[str] = set()
    for family in text_string_to_metric_families(text):
        if family.name in seen:
            raise HarnessError(f"metric family {family.name} appears twice")
        seen.add(family.name)


def _totals(text: str, ending: str) -> Mapping[str, float]:
    """Per region: the sum of the samples with a region whose name has this `ending`."""
    # Parsing everything is slow, and one proof reads it 27 times.
    lines = (line for line in text.splitlines(keepends=True) if f"_{ending}" in line)
    totals: dict[str, float] = {}
    for family in text_string_to_metric_families("".join(lines)):
        for sample in family.samples:
            if sample.name.endswith(f"_{ending}") and "finfocus_region" in sample.labels:
                region = sample.labels["finfocus_region"]
                totals[region] = totals.get(region, 0.0) + sample.value
    return totals
