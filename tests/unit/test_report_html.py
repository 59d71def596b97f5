"""The HTML report."""

import dataclasses
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from markupsafe import Markup

from harness.core.proof import Check, Layer, Proof, Status, TimelineEvent
from harness.report.bullet import draw_bullet
from harness.report.html_report import render_html
from harness.report.markup import tag, visible
from harness.report.sample import sample_proof

VOID = {"meta", "input"}
EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>&amp;"


class Page(HTMLParser):
    """Collects elements and checks that tags are balanced."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.shown = ""
        self.feed(markup)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.shown += data


def hostile_proof() -> Proof:
    """The sample proof with hostile text in every field that can come from outside."""
    proof = sample_proof()
    first = proof.scenarios[0]
    event = replace(first.events[0], detail=EVIL, region=EVIL)
    scenario = replace(
        first, name=EVIL, title=EVIL, events=(event, *first.events), log_tail={EVIL: (EVIL,)}
    )
    checks = [
        Check(
            requirement=EVIL,
            title=EVIL,
            status=status,
            measured=EVIL,
            limit=EVIL,
            value=2,
            bound=1,
            detail=EVIL,
            scenario=EVIL,
            headline=True,
        )
        for status in Status
    ]
    layer = Layer(digest=EVIL, size_bytes=1, created_by=EVIL)
    image = replace(proof.image, reference=EVIL, labels={EVIL: EVIL}, layers=(layer,))
    stand_in = replace(proof.stand_ins[0], kind=EVIL, replaces=EVIL, why=EVIL)
    machine = replace(proof.environment, engine_name=EVIL, kernel=EVIL)
    return replace(
        proof,
        image=image,
        version=EVIL,
        environment=machine,
        stand_ins=(stand_in,),
        checks=tuple(checks),
        scenarios=(scenario,),
        required=(EVIL + "1",),
    )


def test_hostile_text_stays_text() -> None:
    """Markup in untrusted text is shown as text and creates no element or attribute."""
    page = Page(render_html(hostile_proof()))
    plain = Page(render_html(sample_proof()))
    assert {name for name, _ in page.elements} == {name for name, _ in plain.elements}
    names = {name for _, attributes in page.elements for name in attributes}
    assert names <= {name for _, attributes in plain.elements for name in attributes}
    assert page.shown.count(EVIL) > 20


def test_terminal_escapes_are_made_visible() -> None:
    """Control characters, as in coloured logs, are shown as pictures and not passed on."""
    assert visible("\x1b[31m\x00\x7f\tx\n") == "␛[31m␀␡\tx\n"
    markup = render_html(replace(sample_proof(), version="v\x1b[1m\udc80"))
    assert "<dd>v␛[1m?</dd>" in markup


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        pytest.param(tag("p", "a<b", Markup("<i>")), "<p>a&lt;b<i></p>", id="children"),
        pytest.param(
            tag("a", class_="x", aria_label='"'),
            '<a class="x" aria-label="&#34;"></a>',
            id="attributes",
        ),
        pytest.param(tag("g", x=1.0, y=2.346, r=10), '<g x="1" y="2.35" r="10"></g>', id="numbers"),
    ],
)
def test_tag(made: Markup, expected: str) -> None:
    """Elements escape what is not markup already."""
    assert made == expected


def test_page_needs_nothing_else() -> None:
    """The page has no scripts and loads nothing, and its policy forbids both."""
    markup = render_html(sample_proof())
    loading = {"src", "srcset", "style", "data", "xlink:href", "action"}
    for name, attributes in Page(markup).elements:
        assert name not in {"script", "link", "iframe", "object", "img", "base", "form"}
        assert not loading & set(attributes)
        assert not any(attribute.startswith("on") for attribute in attributes)
        assert (attributes.get("href") or "#").startswith("#")
    assert not re.search(r"url\(|@import|https?://", markup)
    assert 'content="default-src &#x27;none&#x27;; style-src &#x27;unsafe-inline&#x27;"' in markup


def test_verdict_and_stand_ins_come_first() -> None:
    """The verdict and the stand-ins come before any result."""
    shown = render_html(sample_proof())
    places = [
        shown.index(words)
        for words in ("<h1>Not proven</h1>", "Stand-ins were used", "Failures", "All checks")
    ]
    assert places == sorted(places)


def test_proven_page() -> None:
    """A proven image without stand-ins says both and has no failures section."""
    proof = sample_proof()
    passed = tuple(c for c in proof.checks if c.status is Status.PASSED)
    markup = render_html(replace(proof, checks=passed, stand_ins=(), required=()))
    assert "<h1>Proven</h1>" in markup
    assert "No stand-ins: every component in this run was the real one." in markup
    assert "Failures" not in markup


def test_tiles_are_the_headline_checks() -> None:
    """Each headline check is a key figure; the first tile counts the requirements met."""
    markup = render_html(sample_proof())
    figures = re.findall(r'<p class="figure">(.*?)</p>', markup)
    assert figures[0] == "6<small> of 9</small>"
    assert figures[1:] == ["2.02 GB", "1.24 s", "0.31 s", "5.6 s", "38 ms"]


def test_tile_names_its_scenario_once() -> None:
    """The scenario follows the title, unless the title contains it."""
    idle = next(c for c in sample_proof().checks if c.headline and c.scenario == "idle")
    said = dataclasses.replace(idle, title="SIGTERM while idle")
    markup = render_html(dataclasses.replace(sample_proof(), checks=(idle, said)))
    whats = re.findall(r'<p class="what">(.*?)</p>', markup)
    assert whats == ["requirements met", f"{idle.title}, idle", "SIGTERM while idle"]


def test_every_check_is_a_row() -> None:
    """Every check has a row, and each requirement's cell links to its first row."""
    page = Page(render_html(sample_proof()))
    ids = {attributes.get("id") for name, attributes in page.elements if name == "tr"}
    links = {a["href"] for name, a in page.elements if name == "a" and "href" in a}
    assert {f"#{id_}" for id_ in ids if id_} == links
    rows = [a["class"] for name, a in page.elements if name == "tr" and "class" in a]
    assert set(rows) == {"failed", "passed", "skipped"}
    assert len(rows) == len(sample_proof().checks)


def test_empty_proof() -> None:
    """A run without results still has a page."""
    proof = sample_proof()
    image = replace(proof.image, layers=(), labels={}, size_bytes=0)
    markup = render_html(replace(proof, image=image, checks=(), scenarios=()))
    assert "not proven" in Page(markup).shown
    assert "Timelines" not in markup


def test_log_tail_is_shown() -> None:
    """The last log lines of a region are in the page, below the drawing."""
    assert "End of the log of sa-east-1" in render_html(sample_proof())


def test_events_are_also_a_table() -> None:
    """Every event is also in a table, in order of time."""
    proof = sample_proof()
    late, early = (
        TimelineEvent(seconds=seconds, region="a", kind=proof.scenarios[0].events[0].kind)
        for seconds in (2.5, 1.25)
    )
    scenario = replace(proof.scenarios[0], events=(late, early))
    markup = render_html(replace(proof, scenarios=(scenario,)))
    assert markup.index(">1.250<") < markup.index(">2.500<")


@pytest.mark.parametrize(
    ("numbers", "bar"),
    [
        pytest.param({"value": 5.0, "bound": 10.0}, "69.57", id="within"),
        pytest.param({"value": 20.0, "bound": 10.0}, "139.13", id="beyond"),
        pytest.param({"value": 12.0, "floor": 12.0}, "139.13", id="floor"),
        pytest.param({"value": 0.0, "bound": 0.0}, "2", id="zero-of-zero"),
        pytest.param({"value": 0.001, "bound": 1e6}, "2", id="tiny"),
    ],
)
def test_bullet(numbers: dict[str, Any], bar: str) -> None:
    """The bar is as long as the value, on a scale that ends just above the largest number."""
    check = Check(requirement="SC-002", title="t", status=Status.PASSED)
    assert f'width="{bar}" height="4"' in draw_bullet(replace(check, **numbers))


@pytest.mark.parametrize(
    "numbers",
    [pytest.param({}, id="no-number"), pytest.param({"value": 1.0}, id="no-limit")],
)
def test_no_bullet(numbers: dict[str, Any]) -> None:
    """A check without a value or without a limit has no bar."""
    check = Check(requirement="SC-002", title="t", status=Status.PASSED)
    assert draw_bullet(replace(check, **numbers)) == ""
