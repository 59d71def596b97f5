"""Unit tests must not use a container engine: one that tries fails."""

from __future__ import annotations

import subprocess
import sys
from typing import NoReturn

import docker
import pytest


@pytest.fixture(autouse=True)
def _no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Block access to an engine: docker-py's client, and the socket for child processes."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("a unit test asked for a container engine: it belongs into tests/e2e")

    monkeypatch.setattr(docker.APIClient, "__init__", refuse)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")


@pytest.fixture(scope="session")
def ended() -> str:
    """Identity of a process of this machine that has exited."""
    program = "from harness.core.labels import own_identity; print(own_identity())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    return done.stdout.decode().strip()
