"""Fixtures shared by the log writer's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.logmux.reference import REGION
from tests.unit.logmux.running import Supervisor


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[..., Supervisor]]:
    """Return a function that creates a supervisor for the given stream names."""
    made: list[Supervisor] = []

    def make(*names: str) -> Supervisor:
        made.append(Supervisor(tmp_path, list(names) or [REGION]))
        return made[-1]

    yield make
    for supervisor in made:
        supervisor.clean_up()
