"""How tests are divided among the processes of `nox -s tests`."""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadFileScheduling

EARLY = (
    "tests/e2e/test_requirements.py",  # builds and proves the image that others use
    "tests/unit/release/test_publish.py",
    "tests/e2e/test_arm64.py",
    "tests/unit/logmux/",
)
"""What takes longest as one piece, and needs no image of another process: it starts first."""
INDEPENDENT = tuple(
    f"tests/{name}.py::"
    for name in (
        "e2e/faults/test_faults",
        "e2e/release/test_release",
        "e2e/release/test_release_faults",
        "e2e/test_broken_images",
        "e2e/test_build",
        "unit/test_workflows",
    )
)
"""Slow files whose tests share only what the session has."""


class Schedule(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """A file's tests share their fixtures and run in order, except those of `INDEPENDENT` files."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if nodeid.startswith(INDEPENDENT) else str(super()._split_scope(nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Schedule:
    """Use this schedule. https://pytest-xdist.readthedocs.io/en/stable/distribution.html"""
    return Schedule(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of `EARLY` first; no other order changes."""
    early = {start: number for number, start in enumerate(EARLY)}
    items.sort(
        key=lambda item: next(
            (number for start, number in early.items() if item.nodeid.startswith(start)),
            len(early),
        )
    )
