"""The order of a run: all scenarios after a usable container, none after an unusable one."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, cast
from unittest.mock import MagicMock

import pytest
from docker.errors import APIError

from harness.core.proof import Environment, Proof, Status
from harness.core.regions import Region
from harness.verify import acceptance, fault_checks, inside, stop_checks
from harness.verify.limits import PROMISED
from harness.verify.traffic import Load
from harness.verify.watch import Watch

from .fakes import NAMES, REGIONS, FakeContainer, FakeEngine, FakeTarget, image_of, real, watch_of

SCENARIOS = (
    "stopped_under_load",
    "stopped_while_starting",
    "interrupted",
    "region_fails",
    "restricted",
)
MACHINE = Environment(
    engine_name="docker",
    engine_version="",
    engine_api_version="",
    storage_driver="",
    kernel="",
    cpus=2,
    memory_bytes=1,
    python="",
    harness_version="",
    host_os="",
)


def run(monkeypatch: pytest.MonkeyPatch, unusable: str) -> tuple[Proof, list[str]]:
    """Run with a first container that is `unusable`; return the run and later scenarios."""
    made: list[str] = []
    monkeypatch.setattr(acceptance, "find_image", lambda *_: image_of())
    monkeypatch.setattr(acceptance, "describe", lambda _: MACHINE)
    monkeypatch.setattr(acceptance, "check_image", lambda _: None)
    monkeypatch.setattr(acceptance, "steady", lambda _: unusable)
    for name in SCENARIOS:
        monkeypatch.setattr(acceptance, name, lambda _, name=name: made.append(name))
    return acceptance.verify(cast("Any", FakeEngine()), "image", REGIONS), made


def test_usable_container_is_followed_by_every_scenario(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a container that serves, however late, nothing is skipped."""
    proof, made = run(monkeypatch, "")
    assert made == list(SCENARIOS)
    assert not [c for c in proof.checks if c.status is Status.SKIPPED]


def test_unusable_container_ends_the_run_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks that need a container are skipped with the reason; build checks are not."""
    proof, made = run(monkeypatch, "nothing answered")
    assert made == []
    assert {c.status for c in proof.checks} == {Status.SKIPPED}
    assert {c.detail for c in proof.checks} == {"nothing answered: no other container was started"}
    skipped = {c.requirement for c in proof.checks}
    assert skipped == set(acceptance.REQUIRED) - {"FR-018"}


@pytest.mark.parametrize(
    ("count", "moments"),
    [pytest.param(12, [1, 6], id="twelve"), (3, [1]), (2, [1]), pytest.param(1, [], id="one")],
)
def test_sc_003_signal_comes_at_moments_of_the_start(
    monkeypatch: pytest.MonkeyPatch, count: int, moments: list[int]
) -> None:
    """SC-003 (exit 0 within 5 s): SIGTERM at the first log line, with one ready, and half ready."""
    waits: list[int] = []
    titles: list[str] = []

    def await_ready(_self: Watch, _timeout: float, *, count: int) -> None:
        waits.append(count)

    monkeypatch.setattr(Watch, "await_ready", await_ready)
    monkeypatch.setattr(stop_checks, "stop_and_check", lambda *_, title, **__: titles.append(title))
    target = FakeTarget(regions=REGIONS[:count], container=FakeContainer("a line"))
    stop_checks.stopped_while_starting(target)
    assert waits == moments
    assert titles == [
        "SIGTERM while starting",
        *(f"SIGTERM while starting, {ready} of {count} regions ready" for ready in moments),
    ]
    assert len(set(target.names_of_scenarios)) == len(moments) + 1


@dataclass
class FakeLoad:
    """A fake load that reports what the test sets, and records the requested wait."""

    comes_back: bool = True
    waits: list[float] = field(default_factory=list)
    requests: dict[str, int] = field(default_factory=lambda: dict.fromkeys(NAMES, 10))
    failures: dict[str, int] = field(default_factory=lambda: dict.fromkeys(NAMES, 0))

    def wait_for(self, _region: str, *, up: bool, timeout: float) -> bool:
        self.waits.append(timeout)
        return self.comes_back or not up


def restarts(monkeypatch: pytest.MonkeyPatch, target: FakeTarget, load: FakeLoad) -> None:
    """The FR-017 (bounded restarts) check on a fake container."""
    pids = dict.fromkeys(NAMES, 42)
    monkeypatch.setattr(inside, "plugins", lambda *_: pids)
    monkeypatch.setattr(inside, "shell", lambda *_: "")
    victim: Region = REGIONS[0]
    watch = watch_of(target.container)
    fault_checks._check_restarts(target, real(target.container), watch, cast("Load", load), victim)


@pytest.mark.parametrize(("ready", "least"), [(0.4, 10.0), (12.6, 25.0)])
def test_fr_017_recovery_may_take_a_region_s_own_start(
    monkeypatch: pytest.MonkeyPatch, ready: float, least: float
) -> None:
    """FR-017: the timeout for a killed region follows from the measured start."""
    target, load = FakeTarget(ready_seconds=ready), FakeLoad()
    restarts(monkeypatch, target, load)
    assert [c.status for c in target.recorder.checks] == [Status.PASSED]
    assert set(load.waits) == {target.budgets.recovery}
    assert target.budgets.recovery >= least


def test_fr_017_region_that_stays_away_fails_with_the_time_waited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """FR-017: the failure says how long the run waited."""
    target = FakeTarget(ready_seconds=20.0)
    restarts(monkeypatch, target, FakeLoad(comes_back=False))
    (check,) = target.recorder.checks
    assert check.status is Status.FAILED
    wait = f"{target.budgets.recovery:g} s"
    assert f"{NAMES[0]} did not answer again within {wait}" in check.detail


def test_fr_017_leaves_out_a_region_that_was_never_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """FR-017: a region that failed SC-002 (ready within 10 s) is neither killed nor watched."""
    named: list[str] = []

    def note(*arguments: object) -> None:
        for argument in arguments:
            named.extend([argument.name] if isinstance(argument, Region) else ())
            named.extend(argument if isinstance(argument, list) else ())

    for check in ("_check_restarts", "_check_others", "_check_end"):
        monkeypatch.setattr(fault_checks, check, note)
    monkeypatch.setattr(Watch, "await_ready", lambda *_: {})
    monkeypatch.setattr(Watch, "load", lambda _: nullcontext(MagicMock()))
    middle = NAMES[6]
    fault_checks.region_fails(FakeTarget(never_ready=(NAMES[0], middle)))
    assert set(named) == set(NAMES) - {NAMES[0], middle}


@pytest.mark.parametrize(("failures", "status"), [(0, Status.PASSED), (2, Status.FAILED)])
def test_fr_017_lost_requests_are_told_by_region(failures: int, status: Status) -> None:
    """FR-017: the failure names the region and its lost requests; unprobed regions are left out."""
    target, load = FakeTarget(), FakeLoad()
    load.failures |= {NAMES[1]: failures, NAMES[2]: 5}
    watch = watch_of(target.container)
    others = [name for name in NAMES if name not in {NAMES[0], NAMES[2]}]
    fault_checks._check_others(target, watch, cast("Load", load), others)
    (check,) = target.recorder.checks
    assert (check.status, check.measured) == (status, f"{failures} of {10 * len(others)} requests")
    assert (f"{NAMES[1]} lost 2 of 10 requests" in check.detail) == bool(failures)
    assert NAMES[2] not in check.detail


def test_sc_003_container_that_exits_while_its_processes_are_listed_is_measured() -> None:
    """SC-003: an exit just after the limit is reported by its time, not by the engine's refusal."""
    target = FakeTarget(times=replace(PROMISED, stop=0.01))
    container = target.container

    def refuse(**_: object) -> None:
        container.end()
        raise APIError("Container is not running")

    container.container = MagicMock(top=refuse)
    watch = watch_of(container)
    watch.signal = lambda name: container.started_at  # type: ignore[method-assign]
    stop_checks.stop_and_check(target, real(container), watch, title="stop")
    (check,) = target.recorder.checks
    assert check.status is Status.FAILED
    assert check.measured.endswith(" s, exit 7")
    assert "not running" not in check.detail
