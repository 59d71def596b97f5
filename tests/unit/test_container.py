"""A container that cannot start."""

from __future__ import annotations

from typing import cast

import pytest
import requests
from docker.models.containers import Container

from harness.core.errors import ContainerDiedError
from harness.engine.container import RunningContainer


class Unstartable:
    """A container whose engine goes away before it starts."""

    name = "x"

    def start(self) -> None:
        """Fail as docker-py does if the engine closes the connection."""
        raise requests.ConnectionError("the engine closed the connection")


def test_container_whose_engine_goes_away_at_the_start_is_dead() -> None:
    """No check waits for regions of a container that never started."""
    container = RunningContainer(cast(Container, Unstartable()), ["us-east-1"])
    with pytest.raises(ContainerDiedError, match="the engine closed the connection"):
        container.start([8001])
    assert container.dead.is_set()
    with pytest.raises(ContainerDiedError, match="cannot start"):
        container.expect_alive()
