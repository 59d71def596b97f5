"""How tests are divided among the processes of `nox -s tests`."""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadFileScheduling


class Schedule(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """A file's tests share their fixtures and run in order; fault rows are independent."""

    def _split_scope(self, nodeid: str) -> str:
        if "test_faults.py::" in nodeid:
            return nodeid
        return str(super()._split_scope(nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Schedule:
    """Use this schedule. https://pytest-xdist.readthedocs.io/en/stable/distribution.html"""
    return Schedule(config, log)
