"""The short form of the stress program; `nox -s stress` runs the long one."""

from __future__ import annotations

import pytest

from tests.e2e.faults.stress import CHILDREN, stress
from tests.unit.logmux.running import needs_lua

pytestmark = needs_lua


@pytest.mark.skipif("sys.platform != 'linux'", reason="needs /proc")
def test_sc_003_stops_and_restarts_beside_busy_cores() -> None:
    """SC-003: no child is lost, left over, or killed although it obeyed; nothing leaks."""
    # Nothing is timed here but the stop's deadline: other tests may run beside this one.
    result = stress(lives=6, late=3.5)
    assert result.problems == []
    assert (result.stops, result.restarts) == (5 * CHILDREN, 5 * CHILDREN)
