"""The JUnit report."""

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from harness.core.proof import Check, Status
from harness.report.junit_report import render_junit
from harness.report.sample import sample_proof


def parse(*checks: Check) -> ET.Element:
    proof = sample_proof()
    return ET.fromstring(render_junit(replace(proof, checks=checks or proof.checks)))


def test_one_suite_per_scenario() -> None:
    """Each scenario is a suite; checks without a scenario are in a suite named image."""
    names = [suite.get("name") for suite in parse()]
    assert names == ["image", "idle", "while starting", "crash"]


def test_counts_and_times() -> None:
    """The counts match the checks, for the run and for each suite."""
    root = parse()
    suites = {suite.get("name"): suite for suite in root}
    keys = ("tests", "failures", "skipped")
    assert [root.get(key) for key in keys] == ["10", "1", "1"]
    assert [suites["while starting"].get(key) for key in keys] == ["1", "1", "0"]
    assert suites["while starting"].get("time") == "5.600"


def test_case_names_and_outcomes() -> None:
    """A case has requirement and title as its name, and the failure or skip reason."""
    cases = {(case.get("classname"), case.get("name")): case for case in parse().iter("testcase")}
    assert cases["idle", "SC-003 time to stop"].find("failure") is None
    failure = cases["while starting", "SC-003 time to stop"].find("failure")
    skipped = cases["image", "SC-004 nothing critical or high"].find("skipped")
    assert failure is not None and skipped is not None
    assert failure.get("message") == "sa-east-1 ignored SIGTERM until it was ready"
    assert failure.text is not None and "measured: 5.6 s\nlimit: ≤ 5 s\n" in failure.text
    assert failure.text.endswith("was killed after the grace period.")
    assert skipped.get("message") == "trivy is not installed"


def test_failure_without_explanation() -> None:
    """A failure without details still has the measured value and the limit."""
    check = Check(requirement="FR-004", title="t", status=Status.FAILED, measured="11", limit="12")
    failure = next(parse(check).iter("failure"))
    assert failure.get("message") == "measured 11, limit 12"


def test_stand_ins_and_image_in_every_suite() -> None:
    """Every suite names the stand-ins and the image, since it may be shown alone."""
    for suite in parse():
        properties = {p.get("name"): p.get("value") for p in suite.iter("property")}
        output = suite.findtext("system-out") or ""
        assert "GitHub Releases" in (properties["stand-in: release server"] or "")
        assert properties["image.id"] == sample_proof().image.image_id
        assert "Stand-in plugin: replaces the released binaries" in output


def test_real_parts_are_named_too() -> None:
    """A run without stand-ins says so."""
    root = ET.fromstring(render_junit(replace(sample_proof(), stand_ins=())))
    assert root[0].findtext("system-out", "").startswith("No stand-ins")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\x1b[31mred\x00", id="control"),
        pytest.param("\udc80", id="lone-surrogate"),
        pytest.param("\ufffe\uffff", id="not-a-character"),
        pytest.param("]]></failure><x a='\"&", id="markup"),
    ],
)
def test_hostile_text(text: str) -> None:
    """Invalid XML characters are replaced and markup is escaped: the file always parses."""
    check = Check(requirement="FR-013", title=text, status=Status.FAILED, detail=text * 2)
    root = parse(check)
    assert root.find("x") is None
    assert len(list(root.iter("failure"))) == 1
    assert (next(root.iter("testcase")).get("name") or "").startswith("FR-013")


def test_no_checks_at_all() -> None:
    """Without checks there is one empty suite, for the verdict and the stand-ins."""
    root = ET.fromstring(render_junit(replace(sample_proof(), checks=())))
    assert [(suite.get("name"), suite.get("tests")) for suite in root] == [("image", "0")]
