"""Starts, the start limit, and how a region becomes ready."""

from __future__ import annotations

import pytest

from .deciding import NAMES, Decider, of_kind, signals, starts, words


def test_sc_002_the_first_tick_asks_for_all_that_may_start() -> None:
    """SC-002 (ready within 10 s): log writer, proxy and the first regions start immediately."""
    decider = Decider(start_parallel=2)
    actions = decider.tick()
    assert starts(actions) == ["log-writer", "us-east-1", "eu-west-1", "proxy"]
    assert words(actions) == [
        ("info", "-", f"starting 4 regions, 2 at a time: {' '.join(NAMES)}"),
    ]


def test_the_start_is_announced_once() -> None:
    """Later ticks do not announce the starting regions again."""
    decider = Decider()
    decider.start_due()
    assert words(decider.tick(1)) == []


def test_nothing_is_asked_for_twice() -> None:
    """A pending start is not requested again."""
    decider = Decider()
    decider.tick()
    assert starts(decider.tick(0.1)) == []


def test_sc_002_gate_lets_the_next_region_in_when_one_listens() -> None:
    """SC-002: a region that listens has parsed its lists, so the next one starts."""
    decider = Decider(start_parallel=1)
    assert decider.start_due() == ["log-writer", "us-east-1", "proxy"]
    order = ["us-east-1"]
    while following := starts(decider.send("listening", name=order[-1])):
        order += following
        decider.started(order[-1])
    assert order == list(NAMES)
    assert starts(decider.tick(1)) == []


def test_gate_0_is_all_at_once() -> None:
    """FINFOCUS_START_PARALLEL=0 starts every region at once, and logs it."""
    decider = Decider(start_parallel=0)
    actions = decider.tick()
    assert starts(actions) == ["log-writer", *NAMES, "proxy"]
    assert "all at once" in words(actions)[0][2]


def test_a_start_over_10_s_no_longer_keeps_the_next_waiting() -> None:
    """A start slowed by its disk does not block the others indefinitely."""
    decider = Decider(start_parallel=1)
    decider.start_due()
    decider.now += 9.9
    assert decider.start_due() == []
    decider.now += 0.2
    assert decider.start_due() == ["eu-west-1"]


def test_restarts_pass_the_gate() -> None:
    """A restart waits while the maximum number of regions is parsing."""
    decider = Decider(start_parallel=1)
    decider.run_all()
    decider.exited("us-east-1")
    decider.exited("eu-west-1")
    decider.now += 0.2
    assert decider.start_due() == ["us-east-1"]
    assert decider.state_of("eu-west-1") == "waiting"
    assert starts(decider.send("listening", name="us-east-1")) == ["eu-west-1"]


def test_a_region_that_fails_while_it_parses_frees_its_place() -> None:
    """Only regions that are still parsing count against the limit."""
    decider = Decider(start_parallel=1)
    decider.start_due()
    assert starts(decider.exited("us-east-1")) == ["eu-west-1"]


def test_parts_pass_no_gate() -> None:
    """The proxy restarts immediately, however many regions are parsing."""
    decider = Decider(start_parallel=1)
    decider.start_due()
    decider.now += 1
    assert starts(decider.exited("proxy")) == ["proxy"]


def test_sc_002_ready_takes_both_a_listening_plugin_and_a_passed_check() -> None:
    """SC-002: ready requires both; it is logged once, with the seconds it took."""
    decider = Decider(["us-east-1"])
    decider.start_due()
    decider.now += 1.5
    assert decider.state_of("us-east-1") == "starting"
    assert words(decider.send("listening", name="us-east-1")) == []
    assert decider.state_of("us-east-1") == "starting"
    actions = decider.health(us_east_1=True)
    assert decider.state_of("us-east-1") == "ready"
    (said,) = of_kind(actions, "say")
    assert (said["message"], said["extra"]) == ("region is ready", {"ready_seconds": 1.5})
    assert words(decider.health(us_east_1=True)) == []


def test_a_check_that_passed_before_does_not_make_a_new_process_ready() -> None:
    """A restarted region must listen itself, whatever the proxy's last check was."""
    decider = Decider(["us-east-1"])
    decider.run_all()
    decider.exited("us-east-1")
    decider.now += 0.2
    assert decider.start_due() == ["us-east-1"]
    assert decider.state_of("us-east-1") == "starting"
    decider.send("listening", name="us-east-1")
    assert decider.state_of("us-east-1") == "ready"


def test_fr_015_a_region_that_fails_its_check_is_said_and_stays_ready() -> None:
    """FR-015 (health of all regions): the first failed check and the recovery are logged once."""
    decider = Decider(["us-east-1"])
    decider.run_all()
    (said,) = of_kind(decider.health(us_east_1=False), "say")
    assert (said["level"], said["message"]) == ("warn", "region is not ready")
    assert said["extra"] == {"check": "L4CON"}
    assert decider.state_of("us-east-1") == "ready"
    assert words(decider.tick(5)) == []
    assert words(decider.health(us_east_1=True)) == [("info", "us-east-1", "region is ready")]


def test_a_region_that_never_becomes_ready_is_killed() -> None:
    """After FINFOCUS_STARTUP_SECONDS it is killed, repeatedly until it has exited."""
    decider = Decider(["us-east-1"], startup_seconds=5)
    decider.start_due()
    assert signals(decider.tick(4.9)) == []
    actions = decider.tick(0.1)
    assert signals(actions) == [("us-east-1", "SIGKILL")]
    assert words(actions) == [
        ("warn", "us-east-1", "us-east-1 is not ready 5 s after its start: killed"),
    ]
    again = decider.tick(0.1)
    assert (signals(again), words(again)) == ([("us-east-1", "SIGKILL")], [])
    decider.exited("us-east-1", 137)
    assert decider.state_of("us-east-1") == "backoff"
    assert signals(decider.tick()) == []


def test_a_hung_region_is_killed() -> None:
    """A region that fails its check for FINFOCUS_UNHEALTHY_SECONDS is killed and restarted."""
    decider = Decider(["us-east-1"], unhealthy_seconds=3)
    decider.run_all()
    decider.health(us_east_1=False)
    assert signals(decider.tick(2.9)) == []
    actions = decider.tick(0.1)
    assert signals(actions) == [("us-east-1", "SIGKILL")]
    assert words(actions)[0][2] == "us-east-1 has failed its health check for 3 s: killed"


def test_a_recovery_begins_the_time_of_a_hung_region_anew() -> None:
    """Two short failures do not add up to one long one."""
    decider = Decider(["us-east-1"], unhealthy_seconds=3)
    decider.run_all()
    for _ in range(3):
        decider.health(us_east_1=False)
        decider.tick(2)
        decider.health(us_east_1=True)
        decider.tick(2)
    assert decider.process("us-east-1")["failures"] == 0
    assert "killed" not in decider.process("us-east-1")


@pytest.mark.parametrize("part", ["proxy", "log-writer"])
def test_a_frozen_part_is_killed_and_starts_again(part: str) -> None:
    """A component stopped by SIGSTOP is killed until it has exited."""
    decider = Decider(["us-east-1"])
    decider.run_all()
    actions = decider.send("frozen", name=part)
    assert signals(actions) == [(part, "SIGKILL")]
    assert words(actions) == [("warn", "-", f"{part} was stopped by a signal: killed")]
    assert signals(decider.tick(0.05)) == [(part, "SIGKILL")]
    assert words(decider.send("frozen", name=part)) == []
    decider.now += 1
    assert starts(decider.exited(part, 137)) == [part]


def test_no_process_possible_is_tried_again_and_given_up_after_10_s() -> None:
    """A refused start is retried every 0.1 s; after 10 s all stop with code 1 and the fix."""
    decider = Decider(["us-east-1"], start_parallel=0)
    asked = starts(decider.tick())
    tries = 0
    while decider.phase == "running":
        for name in asked:
            decider.send("refused", name=name, reason="Resource temporarily unavailable")
        tries += 1
        asked = starts(decider.tick(0.1))
        assert decider.now < 1011
    assert decider.now >= 1010
    assert 50 < tries < 110


def test_a_start_that_works_forgets_the_refused_ones() -> None:
    """The ten seconds count only if no process could be started in that time."""
    decider = Decider(["us-east-1"], start_parallel=0)
    decider.tick()
    decider.send("refused", name="us-east-1", reason="no")
    decider.now += 9
    assert starts(decider.started("proxy")) == ["us-east-1"]
    decider.now += 5
    decider.send("refused", name="us-east-1", reason="no")
    assert decider.phase == "running"


def test_looks_at_a_starting_region_are_frequent_at_first_and_never_rare() -> None:
    """A plugin with a short list is noticed within 4 ms, one with a long list within 0.1 s."""
    decider = Decider(["us-east-1"])
    decider.start_due()
    assert decider.wait() <= 0.004
    decider.now += 1
    assert decider.wait() == pytest.approx(0.05)
    decider.now += 60
    assert decider.wait() == pytest.approx(0.1)
    decider.make_ready("us-east-1")
    assert decider.wait() == pytest.approx(0.25)


def test_health_of_an_unknown_region_changes_nothing() -> None:
    """The health file can be written by anything in the container."""
    decider = Decider(["us-east-1"])
    decider.run_all()
    assert words(decider.health(mars_1=True, us_east_1=True)) == []
    assert decider.state_of("us-east-1") == "ready"


def test_restarts_that_are_due_together_pass_the_gate() -> None:
    """That earlier processes listened does not count for the ones starting now."""
    names = ["us-east-1", "us-west-2", "eu-west-1"]
    decider = Decider(names, start_parallel=2)
    decider.run_all()
    for name in names:
        decider.exited(name)
    decider.now += 0.3
    assert decider.start_due() == names[:2]
