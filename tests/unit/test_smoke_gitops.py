"""The check that Flux finds every object of the release ready."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.core.errors import EnvironmentMissingError
from harness.core.go_tools import GoProgram
from harness.core.proof import Check, Status
from harness.core.recorder import Recorder
from harness.kubernetes.gitops import KSTATUS, check_gitops
from harness.kubernetes.stage import Stage


def deployment(*, available: int) -> dict[str, Any]:
    """A Deployment that wants two pods."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "finfocus", "generation": 1},
        "spec": {"replicas": 2},
        "status": {
            "observedGeneration": 1,
            "replicas": 2,
            "updatedReplicas": 2,
            "readyReplicas": available,
            "availableReplicas": available,
            "conditions": [{"type": "Available", "status": "True" if available else "False"}],
        },
    }


def checked(*objects: dict[str, Any]) -> Check:
    """The result for a release with `objects`."""
    recorder = Recorder(quiet=True)
    found = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    stage = SimpleNamespace(
        recorder=recorder,
        on_cluster=lambda *_: "the manifest",
        kubectl=SimpleNamespace(run=lambda *_, stdin: found if stdin == "the manifest" else ""),
    )
    check_gitops(cast("Stage", stage))
    (check,) = recorder.checks
    return check


def test_object_that_is_not_ready_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line of the program that does not begin with its word for ready is a problem."""
    program = tmp_path / "kstatus"
    program.write_text("#!/bin/sh\necho 'Current Service a ready'\necho 'InProgress Pod b waits'\n")
    program.chmod(0o755)
    monkeypatch.setattr(GoProgram, "provide", lambda _: program)
    check = checked()
    assert (check.status, check.measured) == (Status.FAILED, "2 objects")
    assert "InProgress Pod b waits" in check.detail
    assert "Service a" not in check.detail
    program.write_text("#!/bin/sh\n")
    assert checked().status is Status.FAILED, "no object is no success"


def test_check_without_the_program_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Go the report shows why."""

    def provide(_: GoProgram) -> Path:
        raise EnvironmentMissingError("kstatus needs Go")

    monkeypatch.setattr(GoProgram, "provide", provide)
    check = checked()
    assert (check.status, "needs Go" in check.detail) == (Status.SKIPPED, True)


@pytest.mark.skipif(
    not KSTATUS.path.exists(), reason="kstatus is not compiled: nox -s smoke compiles it"
)
@pytest.mark.parametrize(("available", "status"), [(2, Status.PASSED), (1, Status.FAILED)])
def test_real_program_tells_a_deployment_that_waits(available: int, status: Status) -> None:
    """The rules know a Deployment without all of its pods."""
    assert checked(deployment(available=available)).status is status
