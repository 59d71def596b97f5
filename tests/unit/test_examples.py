"""The examples for Docker Compose and Amazon ECS are valid and match the image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore.session import Session
from botocore.validate import ParamValidator

from harness.core.regions import METRICS_PORT, REPOSITORY, load_regions
from harness.generate import outdated_task_definition

COMPOSE = REPOSITORY / "deploy" / "compose" / "compose.yaml"
TASK = REPOSITORY / "deploy" / "ecs" / "task-definition.json"
PORTS = [*(region.port for region in load_regions()), METRICS_PORT]
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html#fargate-tasks-size
FARGATE_MIB = {"1024": (2, 8), "2048": (4, 16), "4096": (8, 30)}  # GiB, by CPU units


@pytest.fixture
def task() -> dict[str, Any]:
    """The ECS task definition."""
    found: dict[str, Any] = json.loads(TASK.read_text(encoding="utf-8"))
    return found


def problems(task: dict[str, Any]) -> str:
    """Return what is wrong with a call of RegisterTaskDefinition, by the model of AWS's client."""
    operation = Session().get_service_model("ecs").operation_model("RegisterTaskDefinition")
    return str(ParamValidator().validate(task, operation.input_shape).generate_report())


def test_task_definition_is_what_ecs_accepts(task: dict[str, Any]) -> None:
    """The task definition has the members and types of the API, and a size that Fargate offers."""
    assert problems(task) == ""
    low, high = FARGATE_MIB[task["cpu"]]
    memory = int(task["memory"])
    assert memory % 1024 == 0
    assert low <= memory // 1024 <= high
    assert "Unknown parameter" in problems({**task, "memroy": "1024"})


def test_task_is_as_restricted_as_a_pod(task: dict[str, Any]) -> None:
    """UID 65532, a read-only root filesystem, no capabilities, and time to stop (SC-003)."""
    (container,) = task["containerDefinitions"]
    assert container["user"] == "65532:65532"
    assert container["readonlyRootFilesystem"] is True
    assert container["linuxParameters"]["capabilities"] == {"drop": ["ALL"]}
    assert container["stopTimeout"] >= 5
    assert container["healthCheck"]["command"] == ["CMD", "/opt/finfocus/healthcheck.sh"]


def test_fr_012_examples_have_every_port(task: dict[str, Any]) -> None:
    """FR-012 (ports): both examples publish each region and the metrics, compose on loopback."""
    (container,) = task["containerDefinitions"]
    assert [mapping["containerPort"] for mapping in container["portMappings"]] == PORTS
    compose = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    published = compose["services"]["plugin"]["ports"]
    assert published == [f"127.0.0.1:{port}:{port}" for port in PORTS]


def test_task_definition_follows_the_regions_table(tmp_path: Path) -> None:
    """A region less in the table is reported, and removed when the file is written."""
    copy = tmp_path / "task-definition.json"
    copy.write_bytes(TASK.read_bytes())
    assert outdated_task_definition(copy, load_regions(), write=False) == []
    assert outdated_task_definition(copy, load_regions()[1:], write=True) == [copy]
    (container,) = json.loads(copy.read_text(encoding="utf-8"))["containerDefinitions"]
    assert [mapping["containerPort"] for mapping in container["portMappings"]] == PORTS[1:]
