"""The Markdown report."""

from dataclasses import replace

import pytest

from harness.core.proof import Check, Status
from harness.report.markdown_report import render_markdown
from harness.report.sample import sample_proof


def lines_of(*checks: Check) -> list[str]:
    proof = sample_proof()
    return render_markdown(replace(proof, checks=checks or proof.checks)).splitlines()


def test_verdict_first_then_stand_ins() -> None:
    """The first line is the verdict; the stand-ins come before any result."""
    lines = lines_of()
    assert lines[0].startswith("## ✗ registry.example/")
    assert lines[0].endswith("not proven: 8 passed, 1 failed, 1 skipped")
    stand_in = next(n for n, line in enumerate(lines) if "**release server**" in line)
    assert stand_in < lines.index("| requirement | check | measured | limit | |")


def test_a_run_without_stand_ins_says_so() -> None:
    """Without stand-ins the report says so."""
    assert "> No stand-ins" in render_markdown(replace(sample_proof(), stand_ins=()))


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(
            "| SC-002 | slowest region to ready (idle) | 1.24 s | ≤ 10 s | ✓ |", id="pass"
        ),
        pytest.param("| SC-003 | time to stop (while starting) | 5.6 s | ≤ 5 s | ✗ |", id="fail"),
        pytest.param(
            "| SC-004 | nothing critical or high<br>skipped: trivy is not installed |"
            "  | 0 findings | \u2013 |",
            id="skip",
        ),
    ],
)
def test_table_row(row: str) -> None:
    """Each check is a row with the measured value, the limit and a status mark."""
    assert row in lines_of()


def test_unchecked_requirements_are_named() -> None:
    """An unchecked requirement is named at the top."""
    assert "**Not checked: FR-019.**" in lines_of()[:6]


def test_failures_are_explained_below() -> None:
    """A failure's details follow, folded, with their lines kept."""
    text = render_markdown(sample_proof())
    assert "<details><summary>SC-003 time to stop</summary>" in text
    assert "until it was ready\nand was killed after" in text
    assert text.count("<details>") == 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("a | b", r"a \| b", id="table-border"),
        pytest.param("a\nb", "a b", id="line-break"),
        pytest.param("<img src=x>", "&lt;img src=x&gt;", id="html"),
        pytest.param("[x](y) `z` *w*", r"\[x\](y) \`z\` \*w\*", id="markdown"),
        pytest.param("@someone #1", r"\@someone \#1", id="mention"),
    ],
)
def test_cells_show_text_as_it_is(text: str, shown: str) -> None:
    """Text from the checks neither breaks the table nor becomes markup."""
    check = Check(requirement="FR-013", title="t", status=Status.PASSED, measured=text)
    assert f"| FR-013 | t | {shown} |  | ✓ |" in lines_of(check)


def test_explanation_cannot_leave_its_block() -> None:
    """Details with tags, fences and blank lines stay inside their folded block."""
    detail = "```\n\n</pre></details>\n# big"
    check = Check(requirement="FR-013", title="<b>", status=Status.FAILED, detail=detail)
    text = "\n".join(lines_of(check))
    assert "```\n&#8203;\n&lt;/pre&gt;&lt;/details&gt;\n# big\n</pre>" in text
    assert "<summary>FR-013 &lt;b&gt;</summary>" in text
