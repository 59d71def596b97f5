"""Waiting for a slow start: measured to the end; abandoned only if no region becomes ready."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from harness.core.proof import Check, Status
from harness.core.regions import Region
from harness.verify import acceptance, ready_checks, watch
from harness.verify.limits import PROMISED
from harness.verify.probe import PROBE_PAUSE
from harness.verify.watch import LONGEST_PAUSE, pause_before_probe

from .fakes import NAMES, REGIONS, FakeContainer, FakeTarget, real, watch_of

LIMIT = 0.05
QUICK = replace(PROMISED, ready=LIMIT)


class Regions:
    """Configures which regions respond; each is probed repeatedly."""

    def __init__(self) -> None:
        self.ready: set[str] = set()

    def answers(self, _container: object, region: Region) -> bool:
        return region.name in self.ready


@pytest.fixture
def regions(monkeypatch: pytest.MonkeyPatch) -> Regions:
    """No region responds yet."""
    made = Regions()
    monkeypatch.setattr(watch, "answers", made.answers)
    return made


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The parts of the first scenario that were called."""
    called: list[str] = []
    for name in ("check_service", "stop_and_check", "check_forwarding", "check_logs"):
        monkeypatch.setattr(acceptance, name, lambda *_, name=name, **__: called.append(name))
    return called


def sc_002(target: FakeTarget) -> Check:
    (check,) = [c for c in target.recorder.checks if c.requirement == "SC-002"]
    return check


def become_ready_when_told(
    regions: Regions, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """`names` respond once the run says that it keeps waiting; return its messages."""
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        regions.ready.update(names)

    monkeypatch.setattr(ready_checks, "say", say)
    return said


def test_sc_002_missed_is_measured_and_everything_else_is_checked(
    regions: Regions, service: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SC-002 (ready within 10 s): a late start fails one check, and the service is checked."""
    said = become_ready_when_told(regions, NAMES, monkeypatch)
    target = FakeTarget(times=QUICK)
    assert acceptance.steady(target) == ""
    check = sc_002(target)
    assert (check.status, check.bound) == (Status.FAILED, LIMIT)
    assert check.value is not None
    assert check.value > LIMIT
    assert target.ready_seconds == check.value
    assert "exceeds the limit: ≤ 0.05 s" in check.detail
    wait = f"waiting up to {target.patience:g} s"
    assert f"0 of {len(NAMES)} regions are ready after 0.05 s; {wait}" in said[0]
    assert service == ["check_service", "stop_and_check", "check_forwarding", "check_logs"]


def test_sc_002_within_the_limit_passes_without_a_word(
    regions: Regions, service: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SC-002: a start in time passes without a message."""
    said = become_ready_when_told(regions, (), monkeypatch)
    regions.ready.update(NAMES)
    target = FakeTarget()
    assert acceptance.steady(target) == ""
    assert sc_002(target).status is Status.PASSED
    assert (said, "check_service" in service) == ([], True)


def test_sc_002_one_region_that_is_never_ready_does_not_end_the_run(
    regions: Regions, service: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SC-002: with all but one ready, the failure names that one; the rest is checked."""
    monkeypatch.setattr(FakeTarget, "patience", 0.3)
    regions.ready.update(NAMES[1:])
    lines = (f"[{NAMES[0]}] still parsing", f"[{NAMES[1]}] PORT=18002")
    target = FakeTarget(times=QUICK, container=FakeContainer(*lines))
    assert acceptance.steady(target) == ""
    check = sc_002(target)
    assert ("still parsing" in check.detail, "PORT=18002" in check.detail) == (True, False)
    ready = f"{len(NAMES) - 1} of {len(NAMES)} regions"
    assert (check.status, check.measured) == (Status.FAILED, ready)
    assert f"not ready within 0.3 s: {NAMES[0]}" in check.detail
    assert target.never_ready == (NAMES[0],)
    assert "check_service" in service


def test_run_ends_when_no_region_is_ever_ready(
    regions: Regions, service: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If no region responds within the image's start limit, the reason has the time waited."""
    monkeypatch.setattr(FakeTarget, "patience", 0.3)
    target = FakeTarget(times=QUICK)
    reason = acceptance.steady(target)
    assert reason == "no region of the first container was ready within 0.3 s"
    assert service == ["stop_and_check", "check_logs"]
    assert not regions.ready


def test_run_ends_when_the_container_ends(regions: Regions, service: list[str]) -> None:
    """If the container exits, the wait ends, even if regions were ready before."""
    regions.ready.update(NAMES[:3])
    target = FakeTarget()
    threading.Timer(0.2, target.container.end).start()
    assert acceptance.steady(target) == "the first container ended before it could be checked"
    assert sc_002(target).status is Status.FAILED
    assert "exit code 7" in sc_002(target).detail
    assert "check_service" not in service


@pytest.mark.parametrize("count", [1, 6])
def test_wait_for_some_regions_ends_with_them(regions: Regions, count: int) -> None:
    """A wait for some regions ends when they respond, whatever the others do."""
    regions.ready.update(NAMES[:count])
    made = watch_of(FakeContainer())
    assert len(made.await_ready(60, count=count)) == count


def test_wait_for_some_regions_is_not_held_up_by_a_hung_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A region that does not respond to a request does not delay the wait."""
    released = threading.Event()

    def answers(_container: object, region: Region) -> bool:
        return region == REGIONS[0] or not released.wait(60)

    monkeypatch.setattr(watch, "answers", answers)
    made = watch_of(FakeContainer())
    ready = made.await_ready(60, count=1)
    released.set()
    assert list(ready) == [NAMES[0]]


def test_wait_goes_on_where_it_stopped(regions: Regions) -> None:
    """A second wait keeps the times of the first."""
    container = FakeContainer()
    made = watch_of(container)
    regions.ready.update(NAMES[:2])
    first = dict(made.await_ready(0.2))
    regions.ready.update(NAMES)
    second = made.await_ready(60)
    assert set(first) == set(NAMES[:2])
    assert len(second) == len(NAMES)
    assert {name: second[name] for name in first} == first
    assert real(container).started_at == container.started_at


def test_long_starts_are_probed_less_often() -> None:
    """Probes cost the starting regions CPU time; 2 % of the elapsed time is precise enough."""
    pauses = [pause_before_probe(seconds) for seconds in (0, 0.5, 2, 5, 10, 100)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (PROBE_PAUSE, LONGEST_PAUSE)
    assert all(
        pause <= max(PROBE_PAUSE, 0.02 * at)
        for pause, at in zip(pauses, (0, 0.5, 2, 5, 10, 100), strict=True)
    )
