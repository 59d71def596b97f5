"""FR-001 (the base is the default) of an image, from its label and its system."""

from __future__ import annotations

from typing import cast

import pytest
from docker.models.images import Image

from harness.core.labels import BASE_NAME, STAND_INS
from harness.core.proof import Status
from harness.core.recorder import Recorder
from harness.verify import image_checks
from harness.verify.image_checks import _check_base
from harness.verify.target import Target

from .fakes import FakeImage, FakeTarget


def target_of(labels: dict[str, str]) -> Target:
    image = FakeImage({"Config": {"Labels": labels}})
    return FakeTarget(image=cast("Image", image), recorder=Recorder(quiet=True))


@pytest.mark.parametrize(
    ("labels", "system", "status"),
    [
        pytest.param({BASE_NAME: "alpine:3.19"}, "alpine 3.19.9", Status.PASSED, id="default"),
        pytest.param(
            {BASE_NAME: "docker.io/library/alpine:3.19@sha256:1"},
            *("alpine 3.19.9", Status.PASSED),
            id="full-name",
        ),
        pytest.param({}, "alpine 3.19.9", Status.PASSED, id="no-label"),
        pytest.param({BASE_NAME: "alpine:3.23"}, "alpine 3.23.1", Status.SKIPPED, id="by-request"),
        pytest.param({BASE_NAME: "alpine:3.23"}, "alpine 3.19.9", Status.FAILED, id="wrong-label"),
        pytest.param({BASE_NAME: "alpine:3.19"}, "alpine 3.23.1", Status.FAILED, id="wrong-system"),
        pytest.param({BASE_NAME: "alpine:3.1"}, "alpine 3.19.9", Status.FAILED, id="beginning"),
        pytest.param({BASE_NAME: "alpine:3.19"}, "", Status.FAILED, id="unknown"),
        pytest.param({STAND_INS: "base image"}, "debian 12", Status.SKIPPED, id="stand-in"),
    ],
)
def test_fr_001_base_is_the_default_unless_another_was_requested(
    labels: dict[str, str], system: str, status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FR-001: another base that was requested is no failure, and no pass either."""
    monkeypatch.setattr(image_checks, "default_base", lambda: "alpine:3.19")
    target = target_of(labels)
    _check_base(target, system)
    (check,) = target.recorder.checks
    assert check.status is status, check
    if status is Status.SKIPPED and BASE_NAME in labels:
        assert "by request" in check.detail
