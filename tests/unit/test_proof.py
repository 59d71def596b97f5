"""The data model of a verification run."""

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from harness.core.proof import SCHEMA_VERSION, Check, Proof, StandIn, Status
from harness.report.sample import sample_proof


def check(
    requirement: str = "FR-001", status: Status = Status.PASSED, detail: str = "why"
) -> Check:
    return Check(requirement=requirement, title="holds", status=status, detail=detail)


def proof_of(*checks: Check, stand_ins: tuple[str, ...] = ()) -> Proof:
    used = tuple(StandIn(kind=kind, replaces="the real one", why="why") for kind in stand_ins)
    return replace(sample_proof(), checks=checks, stand_ins=used)


PASSED, FAILED, SKIPPED = (check(status=status) for status in Status)


@pytest.mark.parametrize(
    ("checks", "proven", "verdict"),
    [
        pytest.param((), False, "not proven: no checks", id="nothing-checked"),
        pytest.param((PASSED,), True, "proven: 1 passed", id="all-passed"),
        pytest.param((PASSED, SKIPPED), True, "proven: 1 passed, 1 skipped", id="some-skipped"),
        pytest.param((SKIPPED,), False, "not proven: 1 skipped", id="all-skipped"),
        pytest.param((PASSED, FAILED), False, "not proven: 1 passed, 1 failed", id="one-failed"),
    ],
)
def test_verdict(checks: tuple[Check, ...], proven: bool, verdict: str) -> None:
    """An image is proven if a check passed and none failed; the verdict counts them."""
    proof = proof_of(*checks)
    assert (proof.proven, proof.verdict) == (proven, verdict)


@pytest.mark.parametrize(
    ("stand_ins", "checks", "verdict"),
    [
        pytest.param(
            ("base image", "plugin", "plugin"),
            (PASSED,),
            "proven with stand-ins: base image, plugin: 1 passed",
            id="proven",
        ),
        pytest.param(("plugin",), (PASSED, FAILED), "not proven: 1 passed, 1 failed", id="failed"),
    ],
)
def test_verdict_with_stand_ins_names_them(
    stand_ins: tuple[str, ...], checks: tuple[Check, ...], verdict: str
) -> None:
    """The verdict of a proof with stand-ins names each kind, and is never just "proven"."""
    proof = proof_of(*checks, stand_ins=stand_ins)
    assert proof.verdict == verdict
    assert proof.to_json_dict()["verdict"] == verdict


def test_fr_018_verdict_names_the_regions_left_out() -> None:
    """FR-018 (missing tarball fails the build): the verdict counts and names omitted regions."""
    proof = replace(proof_of(PASSED), regions=("us-east-1", "eu-west-1"), left_out=("sa-east-1",))
    assert proof.verdict == "proven: 1 passed; 2 of 3 regions; left out: sa-east-1"
    assert Proof.from_json_dict(proof.to_json_dict()) == proof


@pytest.mark.parametrize(
    "detail", [pytest.param("", id="empty"), pytest.param(" \n", id="only-white-space")]
)
def test_skip_needs_a_reason(detail: str) -> None:
    """A skipped check must have a reason."""
    with pytest.raises(ValueError, match="FR-001 holds: a skipped check needs a reason"):
        check(status=Status.SKIPPED, detail=detail)


@pytest.mark.parametrize(
    "number", [pytest.param(float("nan"), id="nan"), pytest.param(float("inf"), id="infinite")]
)
@pytest.mark.parametrize(
    "name", [pytest.param(name, id=name) for name in ("value", "bound", "floor", "seconds")]
)
def test_numbers_are_finite(name: str, number: float) -> None:
    """A number that JSON cannot represent is rejected when created, not when written."""
    numbers: dict[str, Any] = {name: number}
    with pytest.raises(ValueError, match="not a finite number"):
        replace(check(), **numbers)


@pytest.mark.parametrize(
    "name", [pytest.param(name, id=name) for name in ("started_at", "finished_at")]
)
def test_times_have_a_zone(name: str) -> None:
    """A time without a zone is rejected, because reports are read elsewhere."""
    naive: Any = {name: datetime(2025, 1, 1)}
    with pytest.raises(ValueError, match="has no time zone"):
        replace(sample_proof(), **naive)


def test_by_requirement_orders_ids_by_number() -> None:
    """Requirements are in numeric order, and their checks in the order they were made."""
    checks = (check("SC-001"), check("FR-10"), check("FR-9"), check("FR-10", detail="second"))
    grouped = proof_of(*checks).by_requirement()
    assert list(grouped) == ["FR-9", "FR-10", "SC-001"]
    assert grouped["FR-10"] == (checks[1], checks[3])


def test_requirements_without_check() -> None:
    """An unchecked requirement is reported once; a skipped one counts as checked."""
    proof = proof_of(check("FR-001"), check("FR-002", Status.SKIPPED))
    wanted = ("SC-001", "FR-003", "FR-002", "FR-001", "FR-003")
    assert proof.requirements_without_check(wanted) == ("FR-003", "SC-001")


def test_json_round_trip() -> None:
    """A proof read back from its JSON text equals the one that was written."""
    proof = sample_proof()
    assert Proof.from_json_dict(json.loads(json.dumps(proof.to_json_dict()))) == proof


def test_unknown_fields_are_ignored() -> None:
    """Unknown fields of the same schema version are ignored."""
    data = sample_proof().to_json_dict()
    data["checks"][0]["added_later"] = data["added_later"] = 1
    assert Proof.from_json_dict(data) == sample_proof()


def test_optional_fields_may_be_absent() -> None:
    """A field with a default may be missing, as in older files."""
    data = sample_proof().to_json_dict()
    del data["checks"][0]["headline"]
    assert Proof.from_json_dict(data).checks[0].headline is False


@pytest.mark.parametrize(
    "version", [pytest.param(SCHEMA_VERSION + 1, id="newer"), pytest.param(None, id="absent")]
)
def test_unknown_schema_version(version: int | None) -> None:
    """Another schema version is rejected with an error that names both versions."""
    data = sample_proof().to_json_dict() | {"schema_version": version}
    with pytest.raises(ValueError, match=f"schema version {version}, but .* only version 1$"):
        Proof.from_json_dict(data)


@pytest.mark.parametrize(
    ("part", "field", "value", "message"),
    [
        pytest.param("checks", "status", "maybe", r"checks\[0\].status: 'maybe'", id="enum"),
        pytest.param("checks", "title", 7, r"checks\[0\].title: 7 is not of type str", id="text"),
        pytest.param("checks", "value", "7", r"value: '7' is not of type float", id="number"),
        pytest.param("checks", "headline", 1, r"headline: 1 is not of type bool", id="flag"),
        pytest.param("scenarios", "seconds", True, r"True is not of type float", id="true"),
        pytest.param("scenarios", "events", {}, r"events: {} is not of type list", id="list"),
        pytest.param("scenarios", "log_tail", [], r"log_tail: \[\] is not of type dict", id="map"),
        pytest.param("stand_ins", "kind", None, r"kind: None is not of type str", id="null"),
    ],
)
def test_malformed_value(part: str, field: str, value: object, message: str) -> None:
    """A value of the wrong type is rejected with its location."""
    data = sample_proof().to_json_dict()
    data[part][0][field] = value
    with pytest.raises(ValueError, match=message):
        Proof.from_json_dict(data)


def test_true_is_not_a_count() -> None:
    """A boolean is rejected as an integer, although Python treats it as 1."""
    data = sample_proof().to_json_dict()
    data["environment"]["cpus"] = True
    with pytest.raises(ValueError, match=r"cpus: True is not of type int"):
        Proof.from_json_dict(data)


def test_missing_field() -> None:
    """A missing field is rejected by name."""
    data = sample_proof().to_json_dict()
    del data["image"]["image_id"]
    with pytest.raises(ValueError, match=r"proof\.image\.image_id is missing"):
        Proof.from_json_dict(data)
