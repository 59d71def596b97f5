"""The Compose example, run by Docker's own client."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.core.errors import CommandError
from harness.core.go_tools import GoProgram, module_directory
from harness.core.process import run
from harness.core.regions import METRICS_PORT, REPOSITORY, load_regions
from harness.core.stages import BuiltImage
from harness.verify.probe import get_status

EXAMPLE = REPOSITORY / "deploy" / "compose" / "compose.yaml"
_MODULE, _VERSION = "github.com/docker/compose/v2", "v2.40.3"
# The tests' own ports: the example's may be taken on this machine.
_OVERRIDE = """\
services:
  plugin:
    ports: !override
"""


def compose_command() -> list[str]:
    """Return the client on PATH, in the cache, or compiled on request; skip without one."""
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    if (
        shutil.which("docker")
        and not subprocess.run(
            ["docker", "compose", "version"], capture_output=True, check=False
        ).returncode
    ):
        return ["docker", "compose"]
    if os.environ.get("FINFOCUS_COMPOSE"):
        return [str(_compiled())]
    pytest.skip("Docker Compose is not installed; FINFOCUS_COMPOSE=1 compiles it")


def _compiled() -> Path:
    """Compile the client in its own module: `go install` refuses one that excludes others."""
    client = GoProgram(
        source=module_directory(f"{_MODULE}@{_VERSION}"),
        name="docker-compose",
        package="./cmd",
        ldflags=f"-s -w -X {_MODULE}/internal.Version={_VERSION}",
        takes="several minutes",
    )
    return client.provide()


@dataclass(frozen=True)
class Project:
    """One Compose project of the example."""

    command: list[str]
    files: list[str]
    environ: dict[str, str]

    def run(self, *arguments: str, timeout: float = 120) -> str:
        return run(
            [*self.command, *self.files, *arguments], environ=self.environ, timeout=timeout
        ).strip()


@pytest.fixture
def project(image: BuiltImage, tmp_path: Path) -> Iterator[Project]:
    """The example with the image under test; removed afterwards."""
    ports = [*(region.port for region in load_regions()), METRICS_PORT]
    override = tmp_path / "override.yaml"
    override.write_text(_OVERRIDE + "".join(f'      - "127.0.0.1::{port}"\n' for port in ports))
    own = f"finfocus-{uuid.uuid4().hex[:8]}"
    name, _, version = image.reference.rpartition(":")
    project = Project(
        command=compose_command(),
        files=[f"--project-name={own}", f"--file={EXAMPLE}", f"--file={override}"],
        environ={"FINFOCUS_IMAGE": name, "FINFOCUS_VERSION": version},
    )
    try:
        yield project
    finally:
        project.run("down", "--timeout=10")


def test_example_runs_under_docker_compose(project: Project) -> None:
    """`up --wait` returns when all regions are healthy; a stop ends with exit code 0."""
    project.run("up", "--detach", "--wait", "--wait-timeout=60")
    for region in load_regions():
        address = project.run("port", "plugin", str(region.port))
        assert get_status(int(address.rpartition(":")[2]), "/healthz") == 200, region.name
    project.run("stop")
    (service,) = (
        json.loads(line) for line in project.run("ps", "--all", "--format=json").splitlines()
    )
    assert (service["State"], service["ExitCode"]) == ("exited", 0)


def test_example_without_a_version_says_what_to_set(project: Project) -> None:
    """The version has no default: `latest` would change under a running service."""
    del project.environ["FINFOCUS_VERSION"]
    with pytest.raises(CommandError, match=r"FINFOCUS_VERSION.*set it to a release"):
        project.run("config", "--quiet")
    project.environ["FINFOCUS_VERSION"] = "v0.1.5"
