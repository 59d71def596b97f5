"""FR-020 (region, timestamp, level): all of the container's own lines are JSON."""

from __future__ import annotations

import pytest

from harness.core.proof import Status
from harness.verify.log_checks import check_own_lines

from .fakes import FakeContainer, FakeTarget, real, watch_of

OWN = '{"region":"-","timestamp":"2026-01-01T00:00:00Z","level":"info","message":"starting"}'
HEALTH = '{"region":"us-east-1","timestamp":"2026-01-01T00:00:00Z","level":"warn","message":"down"}'
PLAIN = "[us-east-1] PORT=18001"


@pytest.mark.parametrize(
    ("lines", "status", "measured"),
    [
        pytest.param(
            (OWN, HEALTH, PLAIN), Status.PASSED, "0 of 1 lines are not JSON", id="all-JSON"
        ),
        pytest.param(
            (OWN, "[-] [ALERT] (39) : backend 'region-us-east-1' has no server available!"),
            Status.FAILED,
            "1 of 2 lines are not JSON",
            id="proxy-speaks-text",
        ),
        pytest.param((OWN, "no luck"), Status.FAILED, "1 of 2 lines are not JSON", id="no-prefix"),
        pytest.param((PLAIN,), Status.FAILED, "0 of 0 lines are not JSON", id="says-nothing"),
    ],
)
def test_fr_020_own_lines_are_json(lines: tuple[str, ...], status: Status, measured: str) -> None:
    """FR-020: one line of plain text among them fails the check, which shows it."""
    container = FakeContainer(*lines)
    container.start()
    target = FakeTarget(container=container)
    check_own_lines(target, real(container), watch_of(container))
    (check,) = target.recorder.checks
    assert (check.requirement, check.status, check.measured) == ("FR-020", status, measured)
    if status is Status.FAILED and len(lines) > 1:
        assert lines[1] in check.detail
