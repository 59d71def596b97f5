"""Every requirement of the image, by id, from the proof of one acceptance run."""

import json
from pathlib import Path

import pytest

from harness.core.proof import Check, Proof, Status
from harness.verify.acceptance import REQUIRED

EXPECTED_CHECKS = {
    "FR-012": 2,
    "FR-013": 2,
    "FR-015": 4,
    "FR-017": 3,
    "FR-020": 3,
    "SC-001": 2,
    "SC-003": 6,
}
"""How many checks a requirement has at least; one for all others."""


def reasons(checks: tuple[Check, ...]) -> str:
    return "\n".join(f"{c.title}: {c.measured}: {c.detail}" for c in checks)


@pytest.mark.parametrize("requirement", REQUIRED)
def test_requirement_is_proven(proof: Proof, requirement: str) -> None:
    """The requirement has all its checks, at least one passed, and none failed."""
    checks = proof.by_requirement().get(requirement, ())
    assert len(checks) >= EXPECTED_CHECKS.get(requirement, 1), reasons(checks)
    assert not [c for c in checks if c.status is Status.FAILED], reasons(checks)
    assert [c for c in checks if c.status is Status.PASSED], reasons(checks)


def test_skips_are_only_those_of_stand_ins(proof: Proof) -> None:
    """A check is skipped only if a stand-in is in use."""
    stand_ins = {stand_in.kind for stand_in in proof.stand_ins}
    skipped = [c for c in proof.checks if c.status is Status.SKIPPED]
    assert len(skipped) <= len(stand_ins)
    assert all("stand-in" in c.detail for c in skipped), reasons(tuple(skipped))


def test_us_3_the_proof_lists_every_requirement_with_a_measured_value(
    proof_directory: Path,
) -> None:
    """US-3 (same checks everywhere): the proof has a measured value for every requirement."""
    written = json.loads((proof_directory / "proof.json").read_text(encoding="utf-8"))
    assert written["proven"] is True
    measured = {c["requirement"] for c in written["checks"] if c["measured"]}
    assert measured >= set(REQUIRED)


def test_stand_ins_are_named_in_every_report(proof: Proof, proof_directory: Path) -> None:
    """Each stand-in is named in the HTML, Markdown and JSON reports."""
    for name in ("proof.html", "proof.md", "proof.json"):
        text = (proof_directory / name).read_text(encoding="utf-8")
        for stand_in in proof.stand_ins:
            assert stand_in.kind in text
