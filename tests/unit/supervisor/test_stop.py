"""The stop sequence, step by step, and its error cases."""

from __future__ import annotations

import pytest

from .deciding import Decider, of_kind, signals, starts, words

TWO = ("us-east-1", "eu-west-1")


@pytest.fixture
def decider() -> Decider:
    """Two regions that are ready, the proxy and the log writer."""
    made = Decider(TWO, stop_seconds=4)
    made.run_all()
    return made


def test_fr_006_the_proxy_goes_first(decider: Decider) -> None:
    """FR-006 (forward SIGTERM): the proxy stops accepting before the first plugin is signalled."""
    actions = decider.stop()
    assert words(actions) == [("info", "-", "SIGTERM: stopping 2 regions")]
    assert ("proxy", "SIGUSR1") in signals(actions)
    assert {name for name, _ in signals(actions)} == {"proxy"}
    assert {decider.state_of(name) for name in (*TWO, "proxy")} == {"stopping"}
    assert decider.state_of("log-writer") == "ready"


def test_the_proxy_is_told_exactly_once(decider: Decider) -> None:
    """A second SIGUSR1 would make HAProxy drop open requests."""
    said = signals(decider.stop())
    for _ in range(20):
        said += signals(decider.tick(0.05))
        said += signals(decider.stop())
    assert said.count(("proxy", "SIGUSR1")) == 1


@pytest.mark.parametrize(
    ("stop_seconds", "announced", "held"),
    [(4, False, 1), (4, True, 2), (1, False, 0.25), (1, True, 0.5), (60, False, 1), (60, True, 2)],
)
def test_sc_003_the_proxy_holds_the_stop_for_2_s_at_most(
    stop_seconds: int, held: float, *, announced: bool
) -> None:
    """SC-003 (exit 0 within 5 s): then the plugins are signalled, even if the proxy runs."""
    decider = Decider(TWO, stop_seconds=stop_seconds)
    decider.run_all()
    if announced:
        decider.send("announced")
    decider.stop()
    assert ("us-east-1", "SIGTERM") not in signals(decider.tick(held - 0.01))
    told = signals(decider.tick(0.02))
    assert {(name, "SIGTERM") for name in TWO} <= set(told)


def test_a_stop_is_announced_once(decider: Decider) -> None:
    """The proxy is told at the first announcement; nothing stops, and a later stop is as ever."""
    kinds = [action["kind"] for action in decider.send("announced")]
    assert kinds == ["say", "end_connections"]
    assert decider.send("announced") == []
    assert decider.phase == "running"
    assert ("proxy", "SIGUSR1") in signals(decider.stop())


def test_an_announcement_during_the_stop_is_late(decider: Decider) -> None:
    """The proxy already closes its connections then."""
    decider.stop()
    assert of_kind(decider.send("announced"), "end_connections") == []


def test_sc_003_the_plugins_are_told_as_soon_as_the_proxy_has_ended(decider: Decider) -> None:
    """SC-003: if the proxy exits earlier, the rest of the second is skipped."""
    decider.stop()
    assert {(name, "SIGTERM") for name in TWO} <= set(signals(decider.exited("proxy", 0)))


def test_fr_006_sigterm_is_sent_until_it_shows(decider: Decider) -> None:
    """FR-006: SIGTERM, which can be lost between fork and exec, is repeated after SIGCONT."""
    decider.stop()
    decider.exited("proxy", 0)
    for _ in range(5):
        told = signals(decider.tick(decider.wait()))
        assert told == [
            ("us-east-1", "SIGCONT"),
            ("us-east-1", "SIGTERM"),
            ("eu-west-1", "SIGCONT"),
            ("eu-west-1", "SIGTERM"),
        ]
    assert {name for name, _ in signals(decider.exited("us-east-1", 0))} == {"eu-west-1"}


def test_looks_are_frequent_while_stopping(decider: Decider) -> None:
    """SIGTERM is repeated every 50 ms."""
    decider.stop()
    assert decider.wait() == pytest.approx(0.05)


def test_sc_003_a_clean_stop_is_code_0_without_last_words(decider: Decider) -> None:
    """SC-003: strays, streams and log writer in this order, then exit 0; nothing follows."""
    decider.stop()
    for name in ("proxy", "us-east-1"):
        decider.exited(name, 0)
    actions = decider.exited("eu-west-1", 0)
    kinds = [action["kind"] for action in actions]
    assert kinds[:3] == ["kill_strays", "say", "close_streams"]
    assert words(actions) == [("info", "-", "all regions have stopped")]
    assert set(signals(actions)) == {("log-writer", "SIGCONT")}
    assert of_kind(decider.tick(0.05), "exit") == []
    actions = decider.exited("log-writer", 0)
    assert actions == [{"kind": "exit", "code": 0}]
    assert decider.tick(1) == []
    assert decider.phase == "done"


def test_the_state_of_each_process_after_the_stop(decider: Decider) -> None:
    """A process that exited as requested is stopped."""
    decider.stop()
    for name in ("proxy", *TWO, "log-writer"):
        decider.exited(name, 0)
    assert {decider.state_of(name) for name in ("proxy", *TWO, "log-writer")} == {"stopped"}


def test_what_does_not_run_is_stopped_at_once() -> None:
    """A region that is waiting or in backoff is not started for the stop."""
    decider = Decider(start_parallel=1)
    decider.start_due()
    decider.exited("us-east-1")
    decider.start_due()
    assert decider.state_of("us-east-1") == "backoff"
    assert decider.state_of("us-west-2") == "waiting"
    actions = decider.stop()
    assert starts(actions) == []
    assert decider.state_of("us-east-1") == "stopped"
    assert decider.state_of("us-west-2") == "stopped"
    decider.now += 1
    decider.exited("proxy", 0)
    assert decider.start_due() == []


def test_a_late_start_is_stopped_too() -> None:
    """A process that starts at the moment of the stop gets SIGTERM."""
    decider = Decider(["us-east-1"], start_parallel=0)
    decider.tick()
    decider.started("proxy")
    decider.stop()
    decider.started("us-east-1")
    assert ("us-east-1", "SIGTERM") in signals(decider.tick(1.05))


def test_sc_003_plugins_that_ignore_sigterm_are_killed_at_the_deadline(decider: Decider) -> None:
    """SC-003: after FINFOCUS_STOP_SECONDS they are killed, with one line each; still code 0."""
    decider.stop()
    decider.exited("proxy", 0)
    decider.exited("eu-west-1", 0)
    assert "SIGKILL" not in dict(signals(decider.tick(3.9))).values()
    actions = decider.tick(0.1)
    assert ("us-east-1", "SIGKILL") in signals(actions)
    assert words(actions) == [("warn", "us-east-1", "us-east-1 ignored SIGTERM for 4 s: killed")]
    again = decider.tick(0.05)
    assert ("us-east-1", "SIGKILL") in signals(again) and words(again) == []
    decider.exited("us-east-1", 137)
    assert decider.exited("log-writer", 0)[-1] == {"kind": "exit", "code": 0}


def test_a_proxy_that_hangs_is_killed_at_the_deadline(decider: Decider) -> None:
    """The proxy gets SIGTERM once the plugins have exited, and is killed at the deadline."""
    decider.stop()
    decider.tick(1)
    decider.exited("us-east-1", 0)
    assert ("proxy", "SIGTERM") in signals(decider.exited("eu-west-1", 0))
    assert ("proxy", "SIGKILL") in signals(decider.tick(4))


def test_stop_seconds_0_kills_at_once() -> None:
    """FINFOCUS_STOP_SECONDS=0 kills immediately."""
    decider = Decider(TWO, stop_seconds=0)
    decider.run_all()
    actions = decider.stop()
    assert {(name, "SIGKILL") for name in TWO} <= set(signals(actions))


def test_a_process_that_cannot_be_killed_does_not_hold_the_stop(decider: Decider) -> None:
    """The stop ends half a second after the deadline, whatever still runs."""
    decider.stop()
    ended: list[float] = []
    start = decider.now
    while not ended and decider.now < start + 10:
        ended = [decider.now for _ in of_kind(decider.tick(decider.wait()), "exit")]
    assert 4 < ended[0] - start <= 4.56


def test_log_writer_is_flushed_until_0_2_s_after_the_deadline(decider: Decider) -> None:
    """If nothing reads stdout, the log writer is killed at that point."""
    decider.stop()
    for name in ("proxy", *TWO):
        decider.exited(name, 0)
    assert set(signals(decider.tick(4.1))) == {("log-writer", "SIGCONT")}
    assert ("log-writer", "SIGKILL") in signals(decider.tick(0.1))
    assert decider.exited("log-writer", 137)[-1] == {"kind": "exit", "code": 0}


def test_log_writer_is_started_again_three_times_at_most_while_stopping(decider: Decider) -> None:
    """The cause of its crash may be in the streams."""
    decider.stop()
    for name in ("proxy", *TWO):
        decider.exited(name, 0)
    for _ in range(3):
        assert starts(decider.exited("log-writer", 1)) == ["log-writer"]
        decider.started("log-writer")
    actions = decider.exited("log-writer", 1)
    assert starts(actions) == []
    assert actions[-1] == {"kind": "exit", "code": 0}


def test_log_writer_that_died_during_the_stop_is_started_for_the_rest(decider: Decider) -> None:
    """A restarted log writer writes what is in the streams after the plugins have exited."""
    decider.stop()
    decider.exited("log-writer", 137)
    for name in ("proxy", *TWO):
        actions = decider.exited(name, 0)
    asked = decider.asked or starts(actions)
    assert asked == ["log-writer"]
    decider.started("log-writer")
    assert decider.exited("log-writer", 0)[-1] == {"kind": "exit", "code": 0}


def test_log_writer_that_cannot_be_started_is_tried_three_times(decider: Decider) -> None:
    """If no process can be started, the stop does not retry forever."""
    decider.stop()
    decider.exited("log-writer", 137)
    for name in ("proxy", *TWO):
        decider.exited(name, 0)
    tries = 0
    actions = decider.tick()
    start = decider.now
    while decider.phase != "done":
        while decider.asked:
            tries += 1
            assert tries < 50, "asks for a start at every refused one"
            decider.asked.pop()
            actions = decider.send("refused", name="log-writer", reason="no")
        if decider.phase != "done":
            actions = decider.tick(0.05)
    assert tries == 3
    assert decider.now - start < 0.5
    assert actions[-1] == {"kind": "exit", "code": 0}


def test_no_process_possible_ends_with_1_and_the_remedy() -> None:
    """The last message names the limit to raise."""
    decider = Decider(["us-east-1"], start_parallel=0)
    actions = decider.tick()
    ended: list[dict[str, object]] = []
    tries = 0
    while not ended and decider.now < 1030:
        while decider.asked and not ended:
            tries += 1
            name = decider.asked.pop(0)
            actions = decider.send("refused", name=name, reason="no")
            ended += of_kind(actions, "exit")
            assert tries < 1000, "asks for a start at every refused one"
        if not ended:
            ended += of_kind(decider.tick(0.1), "exit")
    assert decider.now == pytest.approx(1010, abs=1)
    assert ended[0]["code"] == 1
    assert "raise the process limit" in str(ended[0]["words"])


def test_a_second_signal_changes_nothing(decider: Decider) -> None:
    """The deadline set by the first signal does not move."""
    decider.stop()
    decider.tick(3.9)
    assert words(decider.send("signal", signal="SIGINT")) == []
    assert "SIGKILL" in dict(signals(decider.tick(0.1))).values()


def test_a_signal_before_anything_runs_is_a_stop_without_a_process() -> None:
    """SIGTERM during preparation exits with 0 and starts no region."""
    decider = Decider(TWO)
    actions = decider.stop()
    assert [name for name in starts(actions) if name != "log-writer"] == []


def test_a_region_that_fails_while_stopping_is_not_restarted(decider: Decider) -> None:
    """A region's exit during the stop is expected, whatever its code."""
    decider.stop()
    actions = decider.exited("us-east-1", 137)
    assert words(actions) == []
    assert decider.state_of("us-east-1") == "stopped"


def test_an_error_of_the_supervisor_stops_all_with_1(decider: Decider) -> None:
    """The stop is the normal one; its last message says that the supervisor failed."""
    decider.fail("the supervisor failed")
    assert decider.phase == "front"
    assert ("proxy", "SIGUSR1") in signals(decider.tick())
    for name in ("proxy", *TWO):
        decider.exited(name, 0)
    assert decider.exited("log-writer", 0) == [
        {"kind": "exit", "code": 1, "words": "the supervisor failed", "region": "-"}
    ]


def test_an_error_while_stopping_keeps_the_verdict(decider: Decider) -> None:
    """Code and message of the stop in progress are kept."""
    decider.stop()
    decider.fail("the supervisor failed")
    decider.tick(10)
    assert decider.phase == "done"


def test_an_error_in_the_exit_asks_for_the_exit_again(decider: Decider) -> None:
    """A program that failed to exit is asked to exit again."""
    decider.stop()
    for name in ("proxy", *TWO, "log-writer"):
        decider.exited(name, 0)
    decider.fail("the supervisor failed")
    assert of_kind(decider.tick(), "exit") == [{"kind": "exit", "code": 0}]
