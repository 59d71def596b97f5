"""The short run of the stress program; `nox -s stress` does the long one."""

from __future__ import annotations

import pytest

from tests.e2e.faults.stress import CHILDREN, stress
from tests.unit.logmux.running import needs_lua

pytestmark = needs_lua


@pytest.mark.skipif("sys.platform != 'linux'", reason="needs /proc")
def test_sc_003_stops_and_restarts_beside_busy_cores() -> None:
    """No child is lost, left over, or killed despite obeying; nothing leaks."""
    # Only the stop's deadline is timed: other tests may run in parallel.
    result = stress(lives=6, late=3.5)
    assert result.problems == []
    assert (result.stops, result.restarts) == (5 * CHILDREN, 5 * CHILDREN)
