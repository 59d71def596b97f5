"""SC-001 (image size), for the image of all regions and of some."""

from __future__ import annotations

from typing import Any

import pytest

from harness.core.proof import Status
from harness.verify import image_checks

from .fakes import REGIONS, FakeImage, FakeTarget

BINARY = 158_000_000


@pytest.mark.parametrize(
    ("count", "base", "binary", "status"),
    [
        pytest.param(12, 8_000_000, BINARY, Status.PASSED, id="all"),
        pytest.param(12, 98_000_000, BINARY, Status.PASSED, id="all-on-a-stand-in-base"),
        pytest.param(10, 98_000_000, BINARY, Status.PASSED, id="ten"),
        pytest.param(1, 8_000_000, BINARY, Status.PASSED, id="one"),
        pytest.param(1, 98_000_000, BINARY, Status.PASSED, id="one-on-a-stand-in-base"),
        pytest.param(1, 8_000_000, 2 * BINARY, Status.FAILED, id="one-with-a-second-list"),
        pytest.param(12, 8_000_000, BINARY // 2, Status.FAILED, id="half-of-the-lists"),
    ],
)
def test_sc_001_size_is_that_of_the_regions(
    count: int, base: int, binary: int, status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SC-001: 2.0 GB for all; a share for fewer, whatever base they stand on."""
    monkeypatch.setattr(image_checks, "_base_size", lambda _: base)
    size = base + 10_000_000 + count * binary
    image: Any = FakeImage({"Config": {}, "Architecture": "amd64", "Size": size})
    target = FakeTarget(image=image, regions=REGIONS[:count], full_size=True)
    image_checks._check_size(target, {r.name: (binary, True, b"") for r in REGIONS[:count]})
    check = target.recorder.checks[0]
    assert (check.requirement, check.status) == ("SC-001", status), check.detail
