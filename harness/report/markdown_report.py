"""Render the proof as Markdown, for a pull request, a release note or a CI job summary."""

import re
from html import escape

from harness.core.proof import Check, Proof, Status
from harness.core.text import human_seconds, human_size
from harness.report.words import (
    MARKS,
    NO_STAND_INS,
    STAND_INS_MEAN,
    short_digest,
    unchecked_line,
    utf8,
)

_SPECIAL = re.compile(r"([\\`*_{}\[\]|~#@])")


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
    mark = MARKS[Status.PASSED if proof.proven else Status.FAILED]
    lines = [
        f"## {mark} {inline(image.reference)}: {inline(proof.verdict)}",
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


def _table(proof: Proof) -> str:
    rows = ["| requirement | check | measured | limit | |", "|---|---|---|---|:-:|"]
    for requirement, checks in proof.by_requirement().items():
        for check in checks:
            where = f" ({inline(check.scenario)})" if check.scenario else ""
            what = inline(check.title) + where
            if check.status is Status.SKIPPED:
                what += f"<br>skipped: {inline(check.detail)}"
            cells = [requirement, what, check.measured, check.limit, MARKS[check.status]]
            cells = [cells[1] if i == 1 else inline(cell) for i, cell in enumerate(cells)]
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _details(check: Check) -> str:
    # No Markdown escapes here: inside an HTML block they would show as backslashes.
    title = escape(" ".join(f"{check.requirement} {check.title}".split()))
    # <pre> with escaped text, not a fence: the text may contain a fence of any length. GitHub ends
    # an HTML block at a blank line, hence the entity that keeps those lines non-empty.
    lines = escape(check.detail.strip() or "no details").splitlines()
    body = "\n".join(line if line.strip() else "&#8203;" for line in lines)
    return f"<details><summary>{title}</summary>\n\n<pre>\n{body}\n</pre>\n\n</details>"


def inline(text: str) -> str:
    """Escape HTML, Markdown and table borders in `text`, on one line."""
    return _SPECIAL.sub(r"\\\1", escape(" ".join(text.split()), quote=False))
