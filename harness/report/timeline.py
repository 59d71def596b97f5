"""Draw one scenario: a lane per region, time from left to right."""

from collections.abc import Callable, Iterator

from markupsafe import Markup

from harness.core.proof import CONTAINER, EventKind, Scenario
from harness.core.text import human_seconds
from harness.report.lanes import Lane, Phase, end_of, lanes, quiet_gaps, signalled_at, started_at
from harness.report.markup import join, tag
from harness.report.timescale import TimeScale, time_scale

# All lengths are in SVG units; the page scales the drawing to its width.
_WIDTH = 1080
_LEFT = 116
_RIGHT = 944  # the columns of numbers start to the right of it
_READY_X, _STOP_X = 1006, _WIDTH - 2
_TOP = 46
_LANE = 19
_AXIS = 26
_TICKS = 14
_MIN_TICK_GAP = 46
_MIN_BAR = 1.5


def draw_timeline(scenario: Scenario) -> Markup:
    """Draw the scenario as SVG, with a tooltip on every shape."""
    rows = lanes(scenario)
    scale = time_scale(end_of(scenario), quiet_gaps(scenario))
    bottom = _TOP + len(rows) * _LANE
    return tag(
        "svg",
        tag("title", f"{scenario.name}: {len(rows) - 1} regions over time"),
        join(_axis(scale, bottom)),
        join(_columns(rows)),
        join(_lane(lane, n, scale) for n, lane in enumerate(rows)),
        join(_cuts(scale, bottom)),
        join(_lines(scenario, scale, bottom)),
        join(_marks(lane, n, scale) for n, lane in enumerate(rows)),
        class_="timeline",
        viewBox=f"0 0 {_WIDTH} {bottom + _AXIS}",
        role="img",
    )


def beyond_axis(scenario: Scenario) -> list[str]:
    """Describe the limits that lie beyond the right edge of the axis."""
    return [
        f"{label} lies beyond the right edge"
        for moment, label in _limits(scenario)
        if moment > end_of(scenario)
    ]


def draw_legend() -> list[tuple[Markup, str]]:
    """Return a sample of each bar, mark and line, with its name."""
    shapes: list[tuple[Markup, str]] = []
    for phase in Phase:
        height = _bar_height(phase)
        bar = tag("rect", x=2, y=9 - height / 2, width=20, height=height, class_=phase)
        shapes.append((bar, phase))
    shapes += [(draw(12, 9), kind) for kind, draw in MARKS.items()]
    for kind, name in (("limit", "limit"), ("signal-line", "signal to the container")):
        shapes.append((tag("line", x1=12, x2=12, y1=0, y2=18, class_=kind), name))
    return [
        (tag("svg", shape, viewBox="0 0 24 18", class_="key", aria_hidden="true"), name)
        for shape, name in shapes
    ]


def _bar_height(phase: Phase) -> float:
    """Return the thickness of a phase's bar, so that phases differ without colour."""
    return {Phase.STARTING: 5.0, Phase.RUNNING: 11.0, Phase.DOWN: 2.0}[phase]


def _limits(scenario: Scenario) -> Iterator[tuple[float, str]]:
    if scenario.ready_limit is not None:
        yield started_at(scenario) + scenario.ready_limit, f"ready limit {scenario.ready_limit:g} s"
    signal = signalled_at(scenario)
    if scenario.stop_limit is not None and signal is not None:
        yield signal + scenario.stop_limit, f"stop limit {scenario.stop_limit:g} s"


def _x(scale: TimeScale, seconds: float) -> float:
    return _LEFT + (_RIGHT - _LEFT) * scale.at(seconds)


def _middle(row: int) -> float:
    return _TOP + (row + 0.5) * _LANE


def _axis(scale: TimeScale, bottom: float) -> Iterator[Markup]:
    previous = -float(_MIN_TICK_GAP)
    taken = [(_x(scale, a) - 20, _x(scale, b) + 20) for a, b in scale.cuts]
    for moment in scale.ticks(_TICKS):
        x = _x(scale, moment)
        yield tag("line", x1=x, x2=x, y1=_TOP, y2=bottom + 4, class_="grid")
        if x - previous >= _MIN_TICK_GAP and not any(a < x < b for a, b in taken):
            yield _text(x, bottom + 15, f"{moment:g} s", "tick middle")
            previous = x


def _cuts(scale: TimeScale, bottom: float) -> Iterator[Markup]:
    """Draw veils over the shortened stretches, so that no bar looks continuous there."""
    for start, stop in scale.cuts:
        x, width = _x(scale, start), _x(scale, stop) - _x(scale, start)
        label = f"{human_seconds(stop - start)} quiet"
        veil = tag("rect", x=x, y=_TOP, width=width, height=bottom - _TOP, class_="cut")
        yield tag("g", tag("title", f"{label}, shortened"), veil)
        yield _text(x + width / 2, bottom + 15, label, "cut-label middle")


def _columns(rows: tuple[Lane, ...]) -> Iterator[Markup]:
    yield _text(_READY_X, _TOP - 8, "ready after", "tick end")
    yield _text(_STOP_X, _TOP - 8, "stop took", "tick end")
    for n, lane in enumerate(rows):
        y = _middle(n) + 4
        yield _text(_LEFT - 10, y, lane_name(lane.region), "lane-name end")
        for x, seconds in ((_READY_X, lane.ready_after), (_STOP_X, lane.stop_after)):
            yield _text(x, y, "\u2013" if seconds is None else human_seconds(seconds), "number end")


def _lane(lane: Lane, row: int, scale: TimeScale) -> Markup:
    y = _middle(row)
    parts = [tag("line", x1=_LEFT, x2=_RIGHT, y1=y, y2=y, class_="rail")]
    for segment in lane.segments:
        left = _x(scale, segment.start)
        width = max(_MIN_BAR, _x(scale, segment.end) - left)
        told = (
            f"{lane_name(lane.region)}: {segment.phase} from {human_seconds(segment.start)}"
            f" to {human_seconds(segment.end)}"
        )
        height = _bar_height(segment.phase)
        bar = tag(
            "rect", x=left, y=y - height / 2, width=width, height=height, class_=segment.phase
        )
        parts.append(tag("g", tag("title", told), bar))
    return join(parts)


def _lines(scenario: Scenario, scale: TimeScale, bottom: float) -> Iterator[Markup]:
    # Limits and signals have separate rows of labels, since they are often close together.
    moments = [(m, label, "limit", 16) for m, label in _limits(scenario) if m <= end_of(scenario)]
    moments.extend(
        (event.seconds, event.detail or "signal", "signal-line", 32)
        for event in scenario.events
        if event.region == CONTAINER and event.kind is EventKind.SIGNAL
    )
    for moment, label, kind, label_y in moments:
        x = _x(scale, moment)
        left_of_line = x > (_LEFT + _RIGHT) / 2
        shift, side = (-5, f"{kind} end") if left_of_line else (5, kind)
        yield tag("line", x1=x, x2=x, y1=label_y - 10, y2=bottom, class_=kind)
        yield _text(x + shift, label_y, label, side)


def _marks(lane: Lane, row: int, scale: TimeScale) -> Markup:
    parts = []
    for event in lane.events:
        if shape := MARKS.get(event.kind):
            told = f"{human_seconds(event.seconds)} {lane_name(event.region)}: {event.kind}"
            if event.detail:
                told += f", {event.detail}"
            parts.append(
                tag("g", tag("title", told), shape(_x(scale, event.seconds), _middle(row)))
            )
    return join(parts)


def _path(steps: str, kind: str) -> Callable[[float, float], Markup]:
    """Return a function that draws an SVG path centred on a point."""

    def draw(x: float, y: float) -> Markup:
        return tag("path", d=steps, transform=f"translate({x:.2f} {y:.2f})", class_=f"mark {kind}")

    return draw


MARKS: dict[EventKind, Callable[[float, float], Markup]] = {
    EventKind.FAULT: _path("M0-7 7 6H-7Z", "fault"),
    EventKind.RESTART: _path(
        "M-6 0A6 6 0 1 0 6 0A6 6 0 1 0-6 0M-1.6-2.6 2.8 0-1.6 2.6Z", "restart"
    ),
    EventKind.EXIT: _path("M-5-5 5 5M5-5-5 5", "exit"),
    EventKind.KILLED: _path("M-6-6H6V6H-6ZM-3-3 3 3M3-3-3 3", "killed"),
    EventKind.SIGNAL: _path("M0-7 6 0 0 7-6 0Z", "signal"),
    EventKind.STOPPED: _path("M0-7V7", "stopped"),
}
"""The event kinds that have a mark, each with its own shape; bars show the other kinds."""


def _text(x: float, y: float, words: str, kind: str) -> Markup:
    return tag("text", words, x=x, y=y, class_=kind)


def lane_name(region: str) -> str:
    """Return the name of a region, or that the lane is the container."""
    return "container" if region == CONTAINER else region
