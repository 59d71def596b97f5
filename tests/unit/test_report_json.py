"""The JSON report and its schema."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from harness.core import proof as model
from harness.core.proof import Proof, Status
from harness.report.json_report import load_schema, render_json
from harness.report.sample import sample_proof


def validator() -> jsonschema.Draft202012Validator:
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    return jsonschema.Draft202012Validator(load_schema(), format_checker=checker)


def empty(proof: Proof) -> Proof:
    return dataclasses.replace(proof, checks=(), scenarios=(), stand_ins=(), required=())


@pytest.mark.parametrize(
    "change", [pytest.param(lambda p: p, id="full"), pytest.param(empty, id="empty")]
)
def test_report_follows_the_schema(change: Callable[[Proof], Proof]) -> None:
    """The report conforms to the published schema."""
    validator().validate(json.loads(render_json(change(sample_proof()))))


def test_schema_is_valid() -> None:
    """The schema is valid for its draft."""
    jsonschema.Draft202012Validator.check_schema(load_schema())


CLASSES = ("Check", "Environment", "ImageFacts", "Layer", "Scenario", "StandIn", "TimelineEvent")


@pytest.mark.parametrize("name", [pytest.param(name, id=name) for name in CLASSES])
def test_schema_names_every_field(name: str) -> None:
    """Schema and data model have the same fields, so neither can change alone."""
    names = [field.name for field in dataclasses.fields(getattr(model, name))]
    described = load_schema()["$defs"][name]
    assert (list(described["properties"]), described["required"]) == (names, names)


def test_schema_names_every_field_of_the_proof() -> None:
    """The top level has the fields of the proof and the two derived ones."""
    names = [field.name for field in dataclasses.fields(Proof)]
    assert list(load_schema()["properties"]) == [*names, "proven", "verdict"]


def _set(data: Any, path: tuple[str | int, ...], value: object) -> None:
    for step in path[:-1]:
        data = data[step]
    data[path[-1]] = value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param(("schema_version",), 2, id="other-version"),
        pytest.param(("checks", 0, "status"), "maybe", id="unknown-status"),
        pytest.param(("checks", 0, "requirement"), "thirteen", id="not-a-requirement"),
        pytest.param(("checks", -1, "detail"), "", id="skip-without-reason"),
        pytest.param(("scenarios", 0, "events", 0, "kind"), "began", id="unknown-event"),
        pytest.param(("scenarios", 0, "seconds"), -1, id="negative-duration"),
        pytest.param(("image", "size_bytes"), "2 GB", id="size-as-text"),
    ],
)
def test_schema_refuses(path: tuple[str | int, ...], value: object) -> None:
    """The schema rejects what the data model rejects."""
    data = sample_proof().to_json_dict()
    assert data["checks"][-1]["status"] == Status.SKIPPED
    _set(data, path, value)
    assert not validator().is_valid(data)


def test_undecodable_bytes_survive() -> None:
    """A lone surrogate, from an undecodable log byte, survives a round trip."""
    image = dataclasses.replace(sample_proof().image, reference="x\udc80")
    text = render_json(dataclasses.replace(sample_proof(), image=image))
    assert json.loads(text.encode())["image"]["reference"] == "x\udc80"
