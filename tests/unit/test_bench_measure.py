"""How figures of the bench become checks."""

from functools import partial
from typing import Any

import pytest

from harness.core.proof import Check, Status
from tests.bench.measure import measure, render_measures

ready = partial(measure, group="ready", name="ready, instant start", value=0.5, unit="s")


@pytest.mark.parametrize(
    ("limits", "status", "row"),
    [
        pytest.param({}, Status.PASSED, "| 0.5 s |  |  |  |", id="no-target"),
        pytest.param({"bound": 0.5}, Status.PASSED, "| 0.5 s |  | ≤ 0.5 s | ✓ |", id="bound"),
        pytest.param({"bound": 0.4}, Status.FAILED, "| 0.5 s |  | ≤ 0.4 s | ✗ |", id="above"),
        pytest.param({"floor": 0.6}, Status.FAILED, "| 0.5 s |  | ≥ 0.6 s | ✗ |", id="below"),
        pytest.param(
            {"bound": 0.6, "rule": "2 × bare", "beside": {"bare": 0.3}},
            Status.PASSED,
            "| 0.5 s | bare 0.3 | ≤ 0.6 s (2 × bare) | ✓ |",
            id="rule",
        ),
    ],
)
def test_figure_is_a_check(limits: dict[str, Any], status: Status, row: str) -> None:
    """A figure is compared with its target; without a target it has no verdict in the table."""
    figure = ready(**limits)
    assert figure.check.status is status
    assert render_measures([figure]).splitlines()[-1] == f"| ready, instant start {row}"


def test_json_has_the_keys_of_a_check() -> None:
    """A figure in `bench.json` has the keys of a check of `proof.json`, and what is beside it."""
    figure = ready(beside={"bare": 0.3}, runs=(0.4, 0.5, 0.6))
    found = figure.to_json_dict()
    keys = Check(requirement="FR-001", title="t", status=Status.PASSED).to_json_dict().keys()
    assert found.keys() - keys == {"beside", "runs"}
    assert keys <= found.keys()
    assert (found["runs"], found["value"]) == ([0.4, 0.5, 0.6], 0.5)
