"""The parts of the page about checks: verdict, key figures, failures, table."""

from collections.abc import Iterator

from harness.core.proof import MARKS, Check, Proof, Status
from harness.core.text import human_seconds, human_size
from harness.report.bullet import draw_bullet
from harness.report.markup import Html, join, tag
from harness.report.words import (
    NO_STAND_INS,
    STAND_INS_MEAN,
    short_digest,
    unchecked_line,
)

_NOT_CHECKED = "unchecked"


def verdict(proof: Proof) -> Html:
    """Render the verdict and the identity of the image."""
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
    """Render the list of stand-ins."""
    if not proof.stand_ins:
        return tag("p", NO_STAND_INS, class_="real")
    items = (
        tag("li", tag("strong", s.kind), f" replaces {s.replaces}. ", tag("span", s.why))
        for s in proof.stand_ins
    )
    return tag(
        "aside",
        tag("h2", "Stand-ins were used"),
        tag("p", STAND_INS_MEAN),
        tag("ul", *items),
        class_="stand-ins",
    )


def requirement_status(checks: tuple[Check, ...]) -> Status:
    """A requirement is failed if any check failed, else skipped if any was skipped, else passed."""
    found = {check.status for check in checks}
    return next(s for s in (Status.FAILED, Status.SKIPPED, Status.PASSED) if s in found)


def key_figures(proof: Proof) -> Html:
    """Render the number of requirements met and the headline checks as tiles."""
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
    """Render every requirement as a small cell that links to its checks."""
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
    """Render the full reason of each failed check; empty if none failed."""
    failed = [check for check in proof.checks if check.status is Status.FAILED]
    if not failed:
        return Html("")
    return tag("section", tag("h2", "Failures"), *(_failure(c) for c in failed))


def _failure(check: Check) -> Html:
    where = f" ({check.scenario})" if check.scenario else ""
    return tag(
        "article",
        tag("h3", f"{MARKS[Status.FAILED]} {check.requirement} {check.title}{where}"),
        tag("p", f"Measured {check.measured or 'nothing'}, limit {check.limit or 'none'}."),
        tag("pre", check.detail.strip() or "no details"),
        class_="failure",
    )


def check_table(proof: Proof) -> Html:
    """Render all checks in the order of their requirements, with radio buttons as a filter.

    The page forbids scripts, so CSS does the filtering: the buttons must be siblings before the
    table.
    """
    names = ("requirement", "check", "measured", "limit", "measured against limit", "")
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
            # The requirement's cell in the strip links to its first row.
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
