"""The database with the real Trivy: registry failures, and unusable databases."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harness.core.errors import ScanImpossibleError
from harness.core.stages import StandInPolicy
from harness.scan import ScanOptions
from harness.scan.database import ready_database
from harness.scan.model import Database
from harness.scan.tool import Trivy
from harness.stand_ins.database import STAND_IN_SOURCE, Advisory, make_database

from .conftest import offline
from .database_registry import DatabaseRegistry

# Each Trivy process itself tries a 5xx three times.
TRIVYS_OWN_ATTEMPTS = 3


@pytest.fixture
def served(registry: DatabaseRegistry, tmp_path: Path) -> DatabaseRegistry:
    """A registry with a small real database."""
    make_database(tmp_path / "served")
    registry.put(tmp_path / "served")
    return registry


def download(trivy: Trivy, registry: DatabaseRegistry, directory: Path) -> Database:
    options = ScanOptions(db_repositories=(registry.repository,), stand_ins=StandInPolicy.AUTO)
    return ready_database(trivy, options, directory / "cache", directory)


def test_database_is_downloaded_and_known_to_find_something(
    trivy: Trivy, served: DatabaseRegistry, tmp_path: Path
) -> None:
    """A database from a registry is used; its date and its source are reported."""
    found = download(trivy, served, tmp_path)
    assert datetime.now(UTC) - found.updated_at < timedelta(minutes=5)
    assert found.source.startswith(STAND_IN_SOURCE)
    assert found.stand_in is not None
    assert found.cache == tmp_path / "cache"


@pytest.mark.parametrize(
    "failures",
    [
        pytest.param([503, 503], id="503-twice"),
        pytest.param([503] * (TRIVYS_OWN_ATTEMPTS + 1), id="503-longer-than-trivy-tries"),
        pytest.param([429, 429], id="429-twice"),
    ],
)
def test_registry_that_is_busy_for_a_while_is_asked_again(
    trivy: Trivy, served: DatabaseRegistry, tmp_path: Path, failures: list[int]
) -> None:
    """After responses of 429 and 5xx the download succeeds."""
    served.failures = list(failures)
    assert download(trivy, served, tmp_path)
    assert served.failures == []


def test_database_whose_digest_lies_is_refused(
    trivy: Trivy, served: DatabaseRegistry, tmp_path: Path
) -> None:
    """Bytes that do not match the digest are rejected."""
    served.lie = True
    with pytest.raises(ScanImpossibleError, match="cannot download the vulnerability"):
        download(trivy, served, tmp_path)


def test_registry_without_database_is_asked_once(
    trivy: Trivy, registry: DatabaseRegistry, tmp_path: Path
) -> None:
    """404 is final: the scan is impossible, even if stand-ins are allowed."""
    with pytest.raises(ScanImpossibleError, match="404 Not Found"):
        download(trivy, registry, tmp_path)
    assert registry.asked.count("/v2/trivy-db/manifests/2") == 1


def test_unreachable_registry_without_stand_ins_is_an_impossible_scan(
    trivy: Trivy, tmp_path: Path
) -> None:
    """If no registry is reachable, the message has Trivy's error and the fix."""
    options = ScanOptions(db_repositories=("127.0.0.1:1/trivy-db:2",))
    with pytest.raises(ScanImpossibleError, match=r"(?s)connection refused.*--skip-db-update"):
        ready_database(trivy, options, tmp_path / "cache", tmp_path)


def test_unreachable_registry_with_stand_ins_is_replaced_and_told(
    trivy: Trivy, tmp_path: Path
) -> None:
    """If stand-ins are allowed, one is used, in a directory of its own."""
    options = ScanOptions(db_repositories=("127.0.0.1:1/trivy-db:2",), stand_ins=StandInPolicy.AUTO)
    found = ready_database(trivy, options, tmp_path / "cache", tmp_path)
    assert found.stand_in is not None
    assert "connection refused" in found.stand_in.why
    assert not (tmp_path / "cache" / "db" / "trivy.db").exists()


def test_missing_database_offline_is_an_impossible_scan(trivy: Trivy, tmp_path: Path) -> None:
    """Offline without a database there is no scan."""
    with pytest.raises(ScanImpossibleError, match="no vulnerability database in"):
        ready_database(trivy, offline(tmp_path / "cache"), tmp_path / "cache", tmp_path)


def test_too_old_database_is_an_impossible_scan(trivy: Trivy, tmp_path: Path) -> None:
    """A database of last month is rejected with its age, and accepted with a larger limit."""
    cache = tmp_path / "cache"
    make_database(cache / "db", updated_at=datetime.now(UTC) - timedelta(days=31))
    with pytest.raises(ScanImpossibleError, match="31 days old"):
        ready_database(trivy, offline(cache), cache, tmp_path)
    assert ready_database(trivy, offline(cache, max_db_age=40), cache, tmp_path)


@pytest.mark.parametrize("keep", [0, 0.5], ids=["overwritten", "truncated"])
def test_corrupt_database_is_an_impossible_scan(trivy: Trivy, tmp_path: Path, keep: float) -> None:
    """An overwritten or truncated database is reported as such."""
    cache = tmp_path / "cache"
    make_database(cache / "db")
    path = cache / "db" / "trivy.db"
    data = path.read_bytes()
    kept = int(len(data) * keep)
    path.write_bytes(data[:kept] if keep else b"not a database" * 1000)
    with pytest.raises(ScanImpossibleError, match=r"cannot use|does not list"):
        ready_database(trivy, offline(cache), cache, tmp_path)


def test_empty_database_is_not_trusted(trivy: Trivy, tmp_path: Path) -> None:
    """A valid but empty database would pass every image."""
    cache = tmp_path / "cache"
    make_database(cache / "db", (Advisory(id="CVE-2099-0002", package="other", vulnerable="<1"),))
    with pytest.raises(ScanImpossibleError, match="does not list"):
        ready_database(trivy, offline(cache), cache, tmp_path)


def test_database_of_another_schema_is_refused(trivy: Trivy, tmp_path: Path) -> None:
    """A schema that this Trivy does not support is rejected."""
    cache = tmp_path / "cache"
    make_database(cache / "db")
    path = cache / "db" / "metadata.json"
    metadata = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**metadata, "Version": 1}), encoding="utf-8")
    with pytest.raises(ScanImpossibleError, match="DB schema"):
        ready_database(trivy, offline(cache), cache, tmp_path)
