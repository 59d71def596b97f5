"""The restart policy: backoff, restart limit, and when a region counts as stable."""

from __future__ import annotations

import pytest

from .deciding import SETTINGS, Decider, of_kind, signals, starts, words

RESTARTS = int(SETTINGS["max_restarts"])


def fail_and_wait(decider: Decider, name: str) -> float:
    """Make the region's process exit; return the backoff until its restart."""
    decider.exited(name)
    entry = decider.process(name)
    assert entry["state"] == "backoff" and "pid" not in entry
    pause = float(entry["due"]) - decider.now
    decider.now += pause - 0.001
    assert decider.start_due() == []
    assert decider.wait() <= 0.0011
    decider.now += 0.002
    assert decider.start_due() == [name]
    return round(pause, 6)


def test_fr_017_pauses_double_up_to_25_6_s() -> None:
    """FR-017 (bounded restarts): the backoff starts short, doubles, and is capped."""
    decider = Decider(["us-east-1"], max_restarts=10)
    decider.run_all()
    pauses = [fail_and_wait(decider, "us-east-1") for _ in range(10)]
    assert pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 25.6, 25.6]


def test_fr_017_one_failure_too_many_stops_all_with_code_1() -> None:
    """FR-017: a failure beyond the restart budget stops the container and names the region."""
    decider = Decider(["us-east-1", "eu-west-1"])
    decider.run_all()
    for _ in range(RESTARTS):
        fail_and_wait(decider, "us-east-1")
    actions = decider.exited("us-east-1", 3)
    assert decider.state_of("us-east-1") == "failed"
    assert decider.state_of("eu-west-1") == "stopping"
    assert words(actions)[0] == (
        "error",
        "us-east-1",
        "us-east-1 exited (code 3): restart limit reached, stopping all regions",
    )
    for name in ("proxy", "eu-west-1", "log-writer"):
        actions = decider.exited(name, 0)
    assert of_kind(actions, "exit") == [
        {
            "kind": "exit",
            "code": 1,
            "region": "us-east-1",
            "words": f"us-east-1 failed again after {RESTARTS} restarts (exit 3):"
            " the container stops",
        }
    ]


def test_fr_017_no_restart_at_all() -> None:
    """FR-017: with FINFOCUS_MAX_RESTARTS=0 the first failure stops the container."""
    decider = Decider(["us-east-1"], max_restarts=0)
    decider.run_all()
    decider.exited("us-east-1")
    assert decider.phase != "running"


def test_fr_017_restart_is_counted_in_words() -> None:
    """FR-017: each failure logs the exit code, the restart count and the backoff."""
    decider = Decider(["us-east-1"], max_restarts=3)
    decider.run_all()
    assert words(decider.exited("us-east-1", 137)) == [
        ("warn", "us-east-1", "us-east-1 exited (code 137): restart 1 of 3 in 0.2 s"),
    ]


def test_fr_017_a_stable_region_has_its_restarts_again() -> None:
    """FR-017: after FINFOCUS_STABLE_SECONDS without a failure the restart count resets."""
    decider = Decider(["us-east-1"], stable_seconds=60)
    decider.run_all()
    for _ in range(RESTARTS):
        fail_and_wait(decider, "us-east-1")
    decider.make_ready("us-east-1")
    decider.now += 60.1
    assert fail_and_wait(decider, "us-east-1") == 0.2
    decider.make_ready("us-east-1")
    decider.now += 59.9
    assert fail_and_wait(decider, "us-east-1") == 0.4


def test_fr_017_a_slow_start_does_not_count_as_stable_time() -> None:
    """FR-017: stable time starts when the region is ready."""
    decider = Decider(["us-east-1"], stable_seconds=60)
    decider.run_all()
    fail_and_wait(decider, "us-east-1")
    decider.now += 50
    decider.make_ready("us-east-1")
    decider.now += 59.9
    assert fail_and_wait(decider, "us-east-1") == 0.4


def test_fr_017_a_region_that_hangs_at_every_start_uses_up_its_restarts() -> None:
    """FR-017: a start limit above FINFOCUS_STABLE_SECONDS still exhausts the restarts."""
    decider = Decider(["us-east-1"], startup_seconds=120, stable_seconds=60)
    decider.start_due()
    for _ in range(RESTARTS):
        assert ("us-east-1", "SIGKILL") in signals(decider.tick(120))
        fail_and_wait(decider, "us-east-1")
    decider.tick(120)
    decider.exited("us-east-1", 137)
    assert decider.state_of("us-east-1") == "failed"
    assert decider.phase != "running"


def test_fr_017_restarts_are_never_used_up_where_a_start_is_stable_at_once() -> None:
    """FR-017: with FINFOCUS_STABLE_SECONDS=0 every failure counts as the first."""
    decider = Decider(["us-east-1"], stable_seconds=0)
    decider.run_all()
    assert {fail_and_wait(decider, "us-east-1") for _ in range(20)} == {0.2}


def test_fr_017_each_process_has_a_budget_of_its_own() -> None:
    """FR-017: failures of one region do not use another's restarts."""
    decider = Decider(["us-east-1", "eu-west-1"], start_parallel=0)
    decider.run_all()
    for _ in range(RESTARTS):
        fail_and_wait(decider, "us-east-1")
    assert fail_and_wait(decider, "eu-west-1") == 0.2


@pytest.mark.parametrize("part", ["proxy", "log-writer"])
def test_fr_017_a_part_starts_again_at_once_within_its_budget(part: str) -> None:
    """FR-017: a component restarts without backoff; a failure beyond its budget stops all."""
    decider = Decider(["us-east-1"])
    decider.run_all()
    for _ in range(RESTARTS):
        decider.now += 0.2
        actions = decider.exited(part)
        assert starts(actions) == [part]
        assert words(actions) == [("warn", "-", f"{part} exited (code 1): restarting")]
        decider.started(part)
        assert decider.state_of(part) == "ready"
    actions = decider.exited(part)
    assert starts(actions) == []
    assert decider.phase != "running"
    assert decider.state_of(part) == "failed"


@pytest.mark.parametrize("part", ["proxy", "log-writer"])
@pytest.mark.parametrize("stable_seconds", [0, 60])
def test_fr_017_a_part_that_ends_at_once_pauses(part: str, stable_seconds: float) -> None:
    """FR-017: a component starts every 0.2 s at most, also where every start counts as stable."""
    decider = Decider(["us-east-1"], stable_seconds=stable_seconds)
    decider.run_all()
    decider.now += 1
    began = decider.now
    assert starts(decider.exited(part)) == [part]
    decider.started(part)
    for _ in range(2):
        assert starts(decider.exited(part)) == []
        assert decider.wait() < 0.201
        assert starts(decider.tick(0.21)) == [part]
        decider.started(part)
    assert decider.now - began >= 0.4
    assert decider.phase == "running"


def test_a_log_writer_that_pauses_still_writes_the_last_lines() -> None:
    """A stop during the pause of the log writer starts it for the lines that are left."""
    decider = Decider(["us-east-1"])
    decider.run_all()
    assert starts(decider.exited("log-writer")) == []
    decider.send("signal", signal="SIGTERM")
    for name in ("proxy", "us-east-1"):
        decider.exited(name, 0)
    decider.tick(0.05)
    assert decider.asked == ["log-writer"]


def test_fr_017_a_part_may_run_again_before_its_time() -> None:
    """FR-017: the restart count of a stable component resets too."""
    decider = Decider(["us-east-1"])
    decider.run_all()
    for _ in range(10):
        decider.now += SETTINGS["stable_seconds"]
        assert starts(decider.exited("proxy")) == ["proxy"]
        decider.started("proxy")
    assert decider.phase == "running"


def test_a_restart_counts_its_own_time() -> None:
    """Starts, readiness and time limits of a new process count from its own start."""
    decider = Decider(["us-east-1"], startup_seconds=5)
    decider.run_all()
    decider.now += 100
    fail_and_wait(decider, "us-east-1")
    entry = decider.process("us-east-1")
    assert entry["starts"] == 2
    assert "ready_seconds" not in entry and "listening" not in entry
    decider.tick(4.9)
    assert decider.state_of("us-east-1") == "starting"
    assert "killed" not in decider.process("us-east-1")
