"""Lanes, time axis and drawing of a scenario."""

from dataclasses import replace
from itertools import pairwise

import pytest

from harness.core.proof import CONTAINER, EventKind, Scenario, TimelineEvent
from harness.report.lanes import Lane, lanes, quiet_gaps
from harness.report.sample import sample_proof
from harness.report.timeline import MARKS, beyond_axis, draw_timeline
from harness.report.timescale import TimeScale, time_scale

IDLE, STARTING, CRASH = sample_proof().scenarios


def scenario(*events: tuple[float, str, str]) -> Scenario:
    made = (TimelineEvent(seconds=s, region=r, kind=EventKind(k)) for s, r, k in events)
    return Scenario(name="s", title="t", seconds=10, regions=("a",), events=tuple(made))


def lane_of(*events: tuple[float, str, str], region: str = "a") -> Lane:
    return next(lane for lane in lanes(scenario(*events)) if lane.region == region)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param((), [], id="nothing"),
        pytest.param(("1 start",), ["starting 1-10"], id="never-ready"),
        pytest.param(("1 start", "2 ready"), ["starting 1-2", "running 2-10"], id="never-ends"),
        pytest.param(
            ("1 start", "2 ready", "5 exit", "6 restart", "7 ready", "9 stopped"),
            ["starting 1-2", "running 2-5", "starting 6-7", "running 7-9"],
            id="restarted",
        ),
        pytest.param(
            ("1 ready", "3 down", "4 up", "8 killed"),
            ["running 1-3", "down 3-4", "running 4-8"],
            id="down-for-a-while",
        ),
        pytest.param(("2 ready", "3 fault", "4 signal"), ["running 2-10"], id="marks-only"),
        pytest.param(("5 exit", "1 start"), ["starting 1-5"], id="out-of-order"),
    ],
)
def test_segments(events: tuple[str, ...], expected: list[str]) -> None:
    """Events become stretches of starting, running and down, with gaps after exits."""
    parsed = [(float(e.split()[0]), "a", e.split()[1]) for e in events]
    found = [f"{s.phase} {s.start:g}-{s.end:g}" for s in lane_of(*parsed).segments]
    assert found == expected


def test_durations_count_from_the_container() -> None:
    """Ready is measured from the container's start, stopping from the signal to the last exit."""
    events = (
        *((0.5, CONTAINER, "start"), (1, "a", "start"), (2.5, "a", "ready")),
        *((6, CONTAINER, "signal"), (7, "a", "exit"), (9, "a", "killed")),
    )
    assert (lane_of(*events).ready_after, lane_of(*events).stop_after) == (2, 3)


def test_an_end_before_the_signal_is_no_stop() -> None:
    """A region that exited before the signal has no stop time."""
    assert lane_of((1, "a", "exit"), (6, CONTAINER, "signal")).stop_after is None


def test_unlisted_region_still_has_a_lane() -> None:
    """A region that appears only in events is drawn last."""
    assert [lane.region for lane in lanes(scenario((1, "b", "start")))] == [CONTAINER, "a", "b"]


@pytest.mark.parametrize(
    ("shown", "gaps"),
    [
        pytest.param(IDLE, [(1.24, 23.4)], id="idling"),
        pytest.param(STARTING, [], id="waiting-for-the-end"),
        pytest.param(CRASH, [(1.3, 4)], id="waiting-for-starts"),
        pytest.param(
            scenario((0, "a", "ready"), (1, CONTAINER, "signal"), (9, "a", "stopped")),
            [],
            id="slow-stop",
        ),
        pytest.param(
            scenario((0, "a", "ready"), (1, "a", "exit"), (8, "a", "restart"), (9, "a", "ready")),
            [],
            id="slow-restart",
        ),
    ],
)
def test_quiet_gaps(shown: Scenario, gaps: list[tuple[float, float]]) -> None:
    """A stretch is quiet if no start or exit is pending, however long it is."""
    assert [gap for gap in quiet_gaps(shown) if gap[1] - gap[0] > 2] == gaps


@pytest.mark.parametrize(
    "scale",
    [
        pytest.param(time_scale(10, ()), id="linear"),
        pytest.param(time_scale(60, ((1.0, 58.0),)), id="one-cut"),
        pytest.param(time_scale(60, ((1.0, 20.0), (21.0, 58.0))), id="two-cuts"),
        pytest.param(time_scale(0, ()), id="no-time"),
        pytest.param(time_scale(5, ((0.0, 5.0),)), id="all-quiet"),
    ],
)
def test_scale_never_goes_back(scale: TimeScale) -> None:
    """Positions never decrease with time, and every moment is on the axis."""
    places = [scale.at(scale.end * n / 500) for n in range(501)]
    assert all(a <= b for a, b in pairwise(places))
    assert (places[0], round(places[-1], 9)) == (0, 1 if scale.end else 0)
    assert len(scale.ticks(10)) <= 12


def test_short_work_stays_visible_beside_idling() -> None:
    """The first second of a mostly idle minute takes a large part of the axis."""
    cut, plain = time_scale(60, ((1.0, 59.0),)), time_scale(60, ())
    assert cut.at(1) > 0.4 > 10 * plain.at(1)
    assert not any(1 < tick < 59 for tick in cut.ticks(10))


def test_drawing_has_a_lane_and_a_tooltip_for_everything() -> None:
    """Every region has a name, and every mark a tooltip with time, region, kind and detail."""
    svg = draw_timeline(CRASH)
    assert all(f">{region}</text>" in svg for region in CRASH.regions)
    assert "<title>4.00 s eu-west-1: fault, its data file was removed</title>" in svg
    assert "<title>11.7 s eu-west-1: restart, restart 3 of 3</title>" in svg
    marks = sum(event.kind in MARKS for event in CRASH.events)
    assert svg.count('class="mark ') == marks


def test_limit_lines() -> None:
    """A limit on the axis is a labelled line; one beyond it is described in words."""
    assert ">ready limit 10 s</text>" in draw_timeline(IDLE)
    assert "stop limit" not in draw_timeline(IDLE)
    assert beyond_axis(IDLE) == ["stop limit 5 s lies beyond the right edge"]
    assert ">stop limit 5 s</text>" in draw_timeline(STARTING)
    assert beyond_axis(STARTING) == []


def test_ready_limit_counts_from_the_container() -> None:
    """The ready limit is relative to the container's start, like the measured times."""
    late = replace(scenario((2, CONTAINER, "start")), ready_limit=9)
    assert beyond_axis(late) == ["ready limit 9 s lies beyond the right edge"]
    assert beyond_axis(replace(late, ready_limit=8)) == []


def test_empty_scenario_can_be_drawn() -> None:
    """A scenario without events gives an empty drawing, not an error."""
    svg = draw_timeline(replace(scenario(), seconds=0))
    assert svg.startswith("<svg") and "nan" not in svg
