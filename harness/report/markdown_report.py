"""Render the proof as Markdown, for a pull request, a release note or a CI job summary."""

from html import escape

from harness.core.proof import MARKS, Check, Proof, Status
from harness.core.text import human_seconds, human_size
from harness.report.check_table import Column, inline, mark, render_table
from harness.report.words import (
    NO_STAND_INS,
    STAND_INS_MEAN,
    short_digest,
    unchecked_line,
    utf8,
)


def render_markdown(proof: Proof) -> str:
    """Render the verdict, stand-ins, a table of all checks, and the details of each failure."""
    blocks = [_head(proof), _stand_ins(proof), _table(proof)]
    blocks += [_details(check) for check in proof.checks if check.status is Status.FAILED]
    return utf8("\n\n".join(block for block in blocks if block) + "\n")


def _head(proof: Proof) -> str:
    image = proof.image
    facts = [
        inline(proof.version),
        inline(proof.architecture),
        f"image {inline(short_digest(image.image_id))}",
        human_size(image.size_bytes),
        f"verified {proof.started_at:%Y-%m-%d %H:%M %Z} in {human_seconds(proof.seconds)}",
    ]
    sign = MARKS[Status.PASSED if proof.proven else Status.FAILED]
    lines = [
        f"## {sign} {inline(image.reference)}: {inline(proof.verdict)}",
        " · ".join(facts),
    ]
    if unchecked := unchecked_line(proof):
        lines.append(f"**{inline(unchecked)}**")
    return "\n\n".join(lines)


def _stand_ins(proof: Proof) -> str:
    if not proof.stand_ins:
        return f"> {NO_STAND_INS}"
    rows = [
        f"> - **{inline(s.kind)}** replaces {inline(s.replaces)}. {inline(s.why)}"
        for s in proof.stand_ins
    ]
    return "\n".join([f"> **Stand-ins were used.** {STAND_INS_MEAN}", *rows])


def _what(check: Check) -> str:
    where = f" ({inline(check.scenario)})" if check.scenario else ""
    why = f"<br>skipped: {inline(check.detail)}" if check.status is Status.SKIPPED else ""
    return f"{inline(check.title)}{where}{why}"


_COLUMNS = (
    Column[Check](head="requirement", cell=lambda check: inline(check.requirement)),
    Column[Check](head="check", cell=_what),
    Column[Check](head="measured", cell=lambda check: inline(check.measured)),
    Column[Check](head="limit", cell=lambda check: inline(check.limit)),
    Column[Check](head="", cell=mark, align=":-:"),
)


def _table(proof: Proof) -> str:
    groups = proof.by_requirement().values()
    return render_table(_COLUMNS, (check for checks in groups for check in checks))


def _details(check: Check) -> str:
    # No Markdown escapes here: inside an HTML block they would show as backslashes.
    title = escape(" ".join(f"{check.requirement} {check.title}".split()))
    # <pre> with escaped text, not a fence: the text may contain a fence of any length. GitHub ends
    # an HTML block at a blank line, hence the entity that keeps those lines non-empty.
    lines = escape(check.detail.strip() or "no details").splitlines()
    body = "\n".join(line if line.strip() else "&#8203;" for line in lines)
    return f"<details><summary>{title}</summary>\n\n<pre>\n{body}\n</pre>\n\n</details>"
