"""The parts of the page that are about checks: verdict, key figures, failures, the table."""

from collections.abc import Iterator

from harness.core.proof import MARKS, Check, Proof, Status
from harness.core.text import human_seconds, human_size
from harness.report.bullet import draw_bullet
from harness.report.markup import Html, join, tag
from harness.report.words import short_digest, unchecked_line

_NOT_CHECKED = "unchecked"


def verdict(proof: Proof) -> Html:
    """Whether the image is proven, and which image that is."""
    outcome = Status.PASSED if proof.proven else Status.FAILED
    image = proof.image
    facts = (
        ("plugin", proof.version),
        ("architecture", f"{image.os}/{proof.architecture}"),
        ("image id", short_digest(image.image_id)),
        ("size", human_size(image.size_bytes)),
        ("verified", f"{proof.started_at:%Y-%m-%d %H:%M %Z}"),
        ("took", human_seconds(proof.seconds)),
    )
    unchecked = unchecked_line(proof)
    return tag(
        "header",
        tag("span", MARKS[outcome], class_="seal", aria_hidden="true"),
        tag(
            "div",
            tag("h1", proof.outcome[:1].upper() + proof.outcome[1:]),
            tag("p", proof.tally, class_="tally"),
            tag("p", unchecked, class_="warning") if unchecked else "",
        ),
        tag("p", image.reference, class_="reference"),
        tag("dl", *(tag("div", tag("dt", key), tag("dd", value)) for key, value in facts)),
        class_=f"verdict {outcome}",
    )


def stand_ins(proof: Proof) -> Html:
    """What was not the real thing."""
    if not proof.stand_ins:
        return tag("p", "No stand-ins: every part of this run was the real one.", class_="real")
    items = (
        tag("li", tag("strong", s.kind), f" replaces {s.replaces}. ", tag("span", s.why))
        for s in proof.stand_ins
    )
    return tag(
        "aside",
        tag("h2", "Stand-ins were used"),
        tag("p", "What they replace is not proven here."),
        tag("ul", *items),
        class_="stand-ins",
    )


def requirement_status(checks: tuple[Check, ...]) -> Status:
    """A requirement is met when all its checks passed, and broken when one of them failed."""
    found = {check.status for check in checks}
    return next(s for s in (Status.FAILED, Status.SKIPPED, Status.PASSED) if s in found)


def key_figures(proof: Proof) -> Html:
    """The checks marked as headline, large; and how many requirements are met."""
    tiles = [_requirement_tile(proof)]
    tiles += [_tile(check) for check in proof.checks if check.headline]
    return tag("section", *tiles, class_="tiles", aria_label="Key figures")


def _requirement_tile(proof: Proof) -> Html:
    by_id = proof.by_requirement()
    states = {id_: requirement_status(checks) for id_, checks in by_id.items()}
    total = len(states) + len(proof.requirements_without_check(proof.required))
    met = sum(status is Status.PASSED for status in states.values())
    return tag(
        "div",
        tag("p", "requirements met", class_="what"),
        tag("p", str(met), tag("small", f" of {total}"), class_="figure"),
        tag("p", f"{len(proof.checks)} checks", class_="limit"),
        class_="tile",
    )


def _tile(check: Check) -> Html:
    said = check.scenario in check.title  # "SIGTERM while idle", of the scenario "idle"
    what = check.title if said else f"{check.title}, {check.scenario}"
    return tag(
        "div",
        tag("p", what, class_="what"),
        tag("p", check.measured or "\u2013", class_="figure"),
        tag("p", tag("b", MARKS[check.status]), f" {check.limit}", class_="limit"),
        draw_bullet(check),
        class_=f"tile {check.status}",
    )


def requirement_strip(proof: Proof) -> Html:
    """Every requirement as one small cell that leads to its checks."""
    states: dict[str, str] = {
        id_: requirement_status(checks) for id_, checks in proof.by_requirement().items()
    }
    states |= dict.fromkeys(proof.requirements_without_check(proof.required), _NOT_CHECKED)
    marks = {str(status): mark for status, mark in MARKS.items()} | {_NOT_CHECKED: "?"}
    cells = (
        tag(
            "li",
            tag(
                "a",
                tag("b", marks[state], aria_hidden="true"),
                f" {id_}",
                href=None if state == _NOT_CHECKED else f"#{id_}",
                title=f"{id_}: {state}",
            ),
            class_=state,
        )
        for id_, state in sorted(states.items())
    )
    return tag("ul", *cells, class_="strip", aria_label="Requirements")


def failures(proof: Proof) -> Html:
    """Why each failed check failed, in full; empty when none did."""
    failed = [check for check in proof.checks if check.status is Status.FAILED]
    if not failed:
        return Html("")
    return tag("section", tag("h2", "What failed"), *(_failure(c) for c in failed))


def _failure(check: Check) -> Html:
    where = f" ({check.scenario})" if check.scenario else ""
    return tag(
        "article",
        tag("h3", f"{MARKS[Status.FAILED]} {check.requirement} {check.title}{where}"),
        tag("p", f"Measured {check.measured or 'nothing'}, limit {check.limit or 'none'}."),
        tag("pre", check.detail.strip() or "no explanation was given"),
        class_="failure",
    )


def check_table(proof: Proof) -> Html:
    """All checks in the order of their requirements, with radio buttons that hide rows.

    The page forbids scripts, so the style sheet does the filtering: the buttons have to stand
    before the table and beside it.
    """
    names = ("requirement", "what", "measured", "limit", "against the limit", "")
    heads = (
        tag("th", name or tag("span", "status", class_="aside"), scope="col") for name in names
    )
    return tag(
        "section",
        tag("h2", "All checks"),
        *_filters(proof),
        tag(
            "div",
            tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *_rows(proof))),
            class_="scroll",
        ),
        class_="checks",
    )


def _filters(proof: Proof) -> Iterator[Html]:
    choices = [("all", len(proof.checks)), *((s.value, n) for s, n in proof.counts.items())]
    for name, count in choices:
        checked = "checked" if name == "all" else None
        yield tag("input", type="radio", name="show", id=f"show-{name}", checked=checked)
        yield tag("label", f"{name} {count}", for_=f"show-{name}")


def _rows(proof: Proof) -> Iterator[Html]:
    for requirement, checks in proof.by_requirement().items():
        for n, check in enumerate(checks):
            # The first row of a requirement is where its cell in the strip leads.
            yield _row(check, requirement if n == 0 else None)


def _row(check: Check, anchor: str | None) -> Html:
    notes = [tag("span", check.scenario, class_="aside")] if check.scenario else []
    if check.status is not Status.PASSED and check.detail:
        notes.append(tag("span", check.detail.strip().splitlines()[0], class_="reason"))
    return tag(
        "tr",
        tag("th", check.requirement, scope="row"),
        tag("td", check.title, " ", join(notes)),
        tag("td", check.measured, class_="number"),
        tag("td", check.limit, class_="number"),
        tag("td", draw_bullet(check)),
        tag("td", MARKS[check.status], title=str(check.status), class_="mark-cell"),
        id=anchor,
        class_=str(check.status),
    )
