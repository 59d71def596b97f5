"""FR-016 (every region serves calls): what a region answers is read as untrusted input."""

from __future__ import annotations

from typing import Any

import pytest

from harness.core.proof import Status
from harness.verify import service_checks

from .fakes import FakeContainer, FakeTarget, real, watch_of

NAME = '{"name":"finfocus-plugin-aws-public"}'


def checked(answer: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the check of regions that all give this answer."""
    container = FakeContainer()
    monkeypatch.setattr(container, "url", lambda *_: "http://127.0.0.1", raising=False)
    monkeypatch.setattr(service_checks, "body_of", lambda *_, **__: answer)
    target = FakeTarget(container=container)
    service_checks._check_http(target, real(container), watch_of(container))
    (check,) = target.recorder.checks
    return check


@pytest.mark.parametrize("answer", ["", "<html>", "[" * 9999, "[]", "{}", '{"name": 5}', "1e400"])
def test_fr_016_answer_in_another_form_fails_the_check(
    answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FR-016 (Connect over HTTP/1.1): the check fails and names each region."""
    check = checked(answer, monkeypatch)
    assert check.status is Status.FAILED
    assert "us-east-1: " in check.detail


def test_fr_016_defect_of_the_check_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """FR-016: what is wrong in our own code is not said of a region."""
    assert checked(NAME, monkeypatch).status is Status.PASSED
    monkeypatch.setattr(service_checks, "member", None)
    check = checked(NAME, monkeypatch)
    assert check.detail.startswith("TypeError: "), "and no region is named"
