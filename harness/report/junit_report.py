"""Render the proof as JUnit XML, which CI systems show next to other test results."""

import re
from xml.etree import ElementTree as ET

from harness.core.proof import Check, Proof, Status
from harness.report.words import stand_in_lines, utf8

# XML 1.0 cannot represent any other character, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NO_SCENARIO = "image"


def render_junit(proof: Proof) -> str:
    """Render one test suite per scenario and one test case per check.

    Checks without a scenario come first.
    """
    root = ET.Element("testsuites", name=_clean(proof.image.reference))
    _count(root, proof.checks)
    root.set("time", f"{proof.seconds:.3f}")
    for name in dict.fromkeys([check.scenario for check in proof.checks] or [""]):
        checks = tuple(check for check in proof.checks if check.scenario == name)
        root.append(_suite(proof, name or _NO_SCENARIO, checks))
    ET.indent(root)
    body = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def _suite(proof: Proof, name: str, checks: tuple[Check, ...]) -> ET.Element:
    suite = ET.Element("testsuite", name=_clean(name))
    _count(suite, checks)
    suite.set("time", f"{sum(check.seconds for check in checks):.3f}")
    suite.set("timestamp", proof.started_at.isoformat(timespec="seconds"))
    # Every suite names the stand-ins: CI systems often show a suite on its own.
    properties = ET.SubElement(suite, "properties")
    for key, value in _properties(proof):
        ET.SubElement(properties, "property", name=key, value=_clean(value))
    for check in checks:
        suite.append(_case(check, name))
    ET.SubElement(suite, "system-out").text = _clean("\n".join(stand_in_lines(proof)))
    return suite


def _properties(proof: Proof) -> list[tuple[str, str]]:
    image = proof.image
    return [
        ("verdict", proof.verdict),
        *((f"stand-in: {s.kind}", f"replaces {s.replaces}: {s.why}") for s in proof.stand_ins),
        ("image.reference", image.reference),
        ("image.id", image.image_id),
        *(("image.repo_digest", digest) for digest in image.repo_digests),
        ("image.architecture", proof.architecture),
        ("image.size_bytes", str(image.size_bytes)),
        ("plugin.version", proof.version),
        *([("image.regions", proof.coverage)] if proof.coverage else []),
    ]


def _case(check: Check, suite: str) -> ET.Element:
    case = ET.Element("testcase", name=_clean(f"{check.requirement} {check.title}"))
    case.set("classname", _clean(suite))
    case.set("time", f"{check.seconds:.3f}")
    first_line = (check.detail.strip().splitlines() or [""])[0]
    if check.status is Status.FAILED:
        message = first_line or f"measured {check.measured}, limit {check.limit}"
        failure = ET.SubElement(case, "failure", message=_clean(message), type="check")
        failure.text = _clean(f"measured: {check.measured}\nlimit: {check.limit}\n{check.detail}")
    elif check.status is Status.SKIPPED:
        ET.SubElement(case, "skipped", message=_clean(first_line)).text = _clean(check.detail)
    else:
        ET.SubElement(case, "system-out").text = _clean(
            f"measured: {check.measured}\nlimit: {check.limit}"
        )
    return case


def _count(element: ET.Element, checks: tuple[Check, ...]) -> None:
    element.set("tests", str(len(checks)))
    element.set("failures", str(sum(check.status is Status.FAILED for check in checks)))
    element.set("errors", "0")
    element.set("skipped", str(sum(check.status is Status.SKIPPED for check in checks)))


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", utf8(text))
