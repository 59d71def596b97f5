"""Render the proof as one self-contained HTML page, without scripts or network access."""

from collections.abc import Iterator
from importlib.resources import files

from harness.core.proof import CONTAINER, Proof, Scenario
from harness.core.text import human_seconds
from harness.report import html_parts
from harness.report.image_parts import environment, layers
from harness.report.lanes import Phase
from harness.report.markup import Html, tag
from harness.report.timeline import MARKS, bar_height, beyond_axis, draw_timeline

# A second line of defence: even if hostile text is not escaped, the browser loads and runs nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def render_html(proof: Proof) -> str:
    """Render the proof as one self-contained page."""
    style = files("harness.report").joinpath("page.css").read_text(encoding="utf-8")
    title = f"{proof.image.reference}: {proof.outcome}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Html(style)),
    )
    page = tag("html", head, tag("body", tag("main", *_parts(proof))), lang="en")
    return f"<!doctype html>\n{page}\n"


def _parts(proof: Proof) -> Iterator[Html]:
    yield html_parts.verdict(proof)
    yield html_parts.stand_ins(proof)
    yield html_parts.requirement_strip(proof)
    yield html_parts.failures(proof)
    yield html_parts.key_figures(proof)
    if proof.scenarios:
        figures = (_scenario(scenario) for scenario in proof.scenarios)
        yield tag("section", tag("h2", "Timelines"), _legend(), *figures)
    yield html_parts.check_table(proof)
    yield layers(proof.image)
    yield environment(proof)


def _scenario(scenario: Scenario) -> Html:
    end = "did not exit" if scenario.exit_code is None else f"exit code {scenario.exit_code}"
    notes = [f"observed for {human_seconds(scenario.seconds)}", end, *beyond_axis(scenario)]
    return tag(
        "figure",
        tag(
            "figcaption",
            tag("strong", scenario.name),
            f" {scenario.title}",
            tag("span", " · ".join(notes), class_="aside"),
        ),
        tag("div", draw_timeline(scenario), class_="scroll"),
        *_logs(scenario),
        _event_table(scenario),
    )


def _logs(scenario: Scenario) -> Iterator[Html]:
    for region, lines in scenario.log_tail.items():
        summary = tag("summary", f"End of the log of {_name(region)}")
        yield tag("details", summary, tag("pre", "\n".join(lines)))


def _event_table(scenario: Scenario) -> Html:
    """Render the events as a table, as the text alternative to the drawing."""
    heads = (tag("th", name, scope="col") for name in ("seconds", "region", "event", "detail"))
    rows = (
        tag(
            "tr",
            tag("td", f"{event.seconds:.3f}", class_="number"),
            tag("td", _name(event.region)),
            tag("td", event.kind),
            tag("td", event.detail),
        )
        for event in sorted(scenario.events, key=lambda event: event.seconds)
    )
    table = tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows))
    return tag("details", tag("summary", f"All {len(scenario.events)} events as a table"), table)


def _legend() -> Html:
    bars = [
        _sample(tag("rect", x=2, y=9 - height / 2, width=20, height=height, class_=phase))
        for phase, height in ((phase, bar_height(phase)) for phase in Phase)
    ]
    shapes = [_sample(MARKS[kind](12, 9)) for kind in MARKS]
    lines = [
        _sample(tag("line", x1=12, x2=12, y1=0, y2=18, class_=kind))
        for kind in ("limit", "signal-line")
    ]
    keys: list[tuple[Html, str]] = [
        *zip(bars, Phase, strict=True),
        *zip(shapes, MARKS, strict=True),
    ]
    keys += zip(lines, ("limit", "signal to the container"), strict=True)
    return tag("ul", *(tag("li", drawn, f" {name}") for drawn, name in keys), class_="legend")


def _sample(shape: Html) -> Html:
    return tag("svg", shape, viewBox="0 0 24 18", class_="key", aria_hidden="true")


def _name(region: str) -> str:
    return "container" if region == CONTAINER else region
