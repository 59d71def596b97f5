"""Render the proof as one self-contained HTML page, without scripts or network access."""

from typing import TYPE_CHECKING

from harness.core.proof import MARKS, Check, Proof, Status
from harness.core.text import human_seconds, human_size
from harness.report.bullet import draw_bullet
from harness.report.layer_bar import draw_layers, layer_size
from harness.report.markup import visible
from harness.report.timeline import beyond_axis, draw_legend, draw_timeline, lane_name
from harness.report.words import (
    NO_STAND_INS,
    STAND_INS_MEAN,
    short_digest,
    unchecked_line,
)

if TYPE_CHECKING:
    from jinja2 import Environment

_NOT_CHECKED = "unchecked"


def render_html(proof: Proof) -> str:
    """Render the proof as one self-contained page."""
    return (
        _environment()
        .get_template("proof.html")
        .render(
            proof=proof,
            outcome=Status.PASSED if proof.proven else Status.FAILED,
            requirements=_requirements(proof),
            legend=draw_legend(),
        )
    )


def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 (slow)

    # Log lines, labels and error messages come from the image under test and are untrusted:
    # `autoescape` escapes every value, `finalize` shows its control characters.
    environment = Environment(
        loader=PackageLoader("harness.report"),
        autoescape=True,
        finalize=visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for convert in (human_seconds, human_size, lane_name, layer_size, short_digest):
        environment.filters[convert.__name__] = convert
    for function in (beyond_axis, draw_bullet, draw_layers, draw_timeline, unchecked_line):
        environment.globals[function.__name__] = function
    environment.globals |= {
        "marks": {str(status): mark for status, mark in MARKS.items()} | {_NOT_CHECKED: "?"},
        "no_stand_ins": NO_STAND_INS,
        "stand_ins_mean": STAND_INS_MEAN,
    }
    return environment


def _requirements(proof: Proof) -> dict[str, str]:
    """Return the state of each requirement: a status, or that no check covers it."""
    states: dict[str, str] = {
        id_: requirement_status(checks) for id_, checks in proof.by_requirement().items()
    }
    return states | dict.fromkeys(proof.requirements_without_check(proof.required), _NOT_CHECKED)


def requirement_status(checks: tuple[Check, ...]) -> Status:
    """A requirement is failed if any check failed, else skipped if any was skipped, else passed."""
    found = {check.status for check in checks}
    return next(s for s in (Status.FAILED, Status.SKIPPED, Status.PASSED) if s in found)
