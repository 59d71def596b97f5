"""Fixtures of the scan tests: the real Trivy, and small databases in its format."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.core.stages import StandInPolicy
from harness.scan import ScanOptions
from harness.scan.tool import Trivy, find_trivy
from harness.stand_ins.database import KNOWN, Advisory, make_database

from .database_registry import DatabaseRegistry, database_registry

PLANTED = Advisory(
    id="CVE-2099-0001",
    package="google.golang.org/protobuf",
    vulnerable="< 99.0.0",
    fixed="99.0.0",
    title="planted for a test",
)
"""Something critical that is in every stand-in plugin."""


@pytest.fixture(scope="session")
def trivy() -> Trivy:
    """The real Trivy, compiled if this machine has none."""
    return find_trivy()


@pytest.fixture
def registry() -> Iterator[DatabaseRegistry]:
    """A local registry without a database."""
    with database_registry() as made:
        yield made


@pytest.fixture(scope="session")
def clean_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Trivy cache with a database that does not list anything in the image."""
    cache = tmp_path_factory.mktemp("clean")
    make_database(cache / "db")
    return cache


@pytest.fixture(scope="session")
def planted_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Trivy cache with a database that lists a critical vulnerability in every plugin."""
    cache = tmp_path_factory.mktemp("planted")
    make_database(cache / "db", (KNOWN, PLANTED))
    return cache


def offline(cache: Path, **changes: object) -> ScanOptions:
    """Scan options for the small database in `cache`."""
    values = {"offline": True, "cache": cache, "stand_ins": StandInPolicy.AUTO, "ignore_file": None}
    return ScanOptions(**{**values, **changes})  # type: ignore[arg-type]
