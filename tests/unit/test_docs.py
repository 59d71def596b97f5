"""The documentation matches the code."""

import re

from harness.core.regions import REPOSITORY
from harness.verify.acceptance import REQUIRED

DOCS = REPOSITORY / "docs"


def test_every_requirement_is_explained() -> None:
    """Every requirement number in a report has a row in docs/requirements.md."""
    text = (DOCS / "requirements.md").read_text(encoding="utf-8")
    rows = "".join(line.split("|")[1] for line in text.splitlines() if line.startswith("| "))
    assert {"FR-010", "FR-011", "SC-004", *REQUIRED} <= set(re.findall(r"(?:FR|SC|US)-\d+", rows))


def test_links_lead_to_files() -> None:
    """Every relative link points to an existing file."""
    pages = [*REPOSITORY.glob("*.md"), *DOCS.glob("*.md")]
    links = [
        (page, target)
        for page in pages
        for target in re.findall(r"\]\((?![a-z]+:)([^)#\s]+)", page.read_text(encoding="utf-8"))
    ]
    assert links
    assert [f"{page.name}: {to}" for page, to in links if not (page.parent / to).exists()] == []
