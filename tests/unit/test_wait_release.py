"""Waiting for a release whose assets are still being uploaded."""

from __future__ import annotations

from typing import Any

import pytest

from harness.build import wait_assets as wait_release
from harness.build.assets import UnreachableError
from harness.core.errors import ReleaseError
from harness.core.regions import load_regions
from harness.core.stages import Architecture

REGIONS = load_regions()


class Uploads:
    """A fake preflight: complete from the given attempt on, per architecture."""

    def __init__(self, complete_at: dict[Architecture, int], error: type[ReleaseError]) -> None:
        self.complete_at, self.error = complete_at, error
        self.looks = dict.fromkeys(complete_at, 0)

    def preflight(self, version: str, architecture: Architecture, *_: Any) -> None:
        self.looks[architecture] += 1
        if self.looks[architecture] < self.complete_at[architecture]:
            raise self.error(f"us-west-1 is missing for {architecture}")


def wait(monkeypatch: pytest.MonkeyPatch, uploads: Uploads, *, timeout: float = 10) -> None:
    monkeypatch.setattr(wait_release, "preflight", uploads.preflight)
    wait_release.wait_for_release(
        "v1.2.3", list(Architecture), REGIONS, "https://x", timeout=timeout, interval=0.01
    )


def test_fr_010_waits_until_every_architecture_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    """FR-010 (publish each release): wait until the slower architecture has all its assets."""
    uploads = Uploads({Architecture.AMD64: 2, Architecture.ARM64: 4}, ReleaseError)
    wait(monkeypatch, uploads)
    assert uploads.looks == {Architecture.AMD64: 4, Architecture.ARM64: 4}


def test_fr_010_wait_is_bounded_and_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """FR-018: after the timeout, missing assets are named, with the exit code of the release."""
    uploads = Uploads({Architecture.AMD64: 1, Architecture.ARM64: 10**6}, ReleaseError)
    with pytest.raises(ReleaseError, match="us-west-1 is missing for arm64") as caught:
        wait(monkeypatch, uploads, timeout=0.2)
    assert "timed out after 0.2 s" in str(caught.value)
    assert "amd64" not in str(caught.value)
    assert caught.value.exit_code == 4


def test_server_that_cannot_be_reached_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unreachable server ends the wait immediately."""
    uploads = Uploads({Architecture.AMD64: 9, Architecture.ARM64: 9}, UnreachableError)
    with pytest.raises(UnreachableError):
        wait(monkeypatch, uploads)
    assert sum(uploads.looks.values()) == 1
