"""The database: only transient errors are retried, and a useless database is rejected."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harness.core.errors import CommandError, ScanImpossibleError
from harness.core.stages import StandInPolicy
from harness.scan import ScanOptions
from harness.scan.database import ATTEMPTS, CANARY, ready_database
from harness.scan.tool import Trivy

FATAL = "2026-11-24T00:00:00Z\tFATAL\tFatal error\trun error: init error: "
BUSY = "GET http://registry/v2/db/manifests/2: unexpected status code 503 Service Unavailable"
LIMITED = "GET https://registry/v2/db/manifests/2: TOOMANYREQUESTS: retry-after: 652.24µs"
DENIED = "GET https://registry/token: DENIED: denied"
NO_HOST = 'Get "https://registry/v2/": dial tcp: lookup registry: no such host'


@dataclass(frozen=True, kw_only=True)
class ScriptedTrivy(Trivy):
    """A fake Trivy with configurable results."""

    path: Path = Path("trivy")
    version: str = "0.74.0"
    provisioned: bool = False
    failures: list[str] = field(default_factory=list)  # of downloads, in order
    canary: str | None = "GitHub Security Advisory Go"  # None: no findings
    broken: str = ""  # error message of the look-up
    asked: list[list[str]] = field(default_factory=list)

    def run(self, arguments: Sequence[str], *, cache: Path, directory: Path) -> str:
        self.asked.append(list(arguments))
        if "--download-db-only" in arguments:
            if self.failures:
                raise CommandError(f"trivy image: exit 1\n{FATAL}{self.failures.pop(0)}")
            put_database(cache)
            return ""
        assert "--skip-db-update" in arguments
        assert CANARY in (directory / arguments[-1]).read_text(encoding="utf-8")
        if self.broken:
            raise CommandError(f"trivy sbom: exit 1\n{FATAL}{self.broken}")
        found = [{"VulnerabilityID": "CVE-1", "DataSource": {"Name": self.canary}}]
        return json.dumps({"Results": [{"Vulnerabilities": found if self.canary else None}]})

    @property
    def downloads(self) -> int:
        return sum("--download-db-only" in arguments for arguments in self.asked)


def put_database(cache: Path, *, age: timedelta = timedelta(hours=1)) -> None:
    (cache / "db").mkdir(parents=True, exist_ok=True)
    (cache / "db" / "trivy.db").write_bytes(b"bolt")
    moment = (datetime.now(UTC) - age).isoformat().replace("+00:00", "123Z")
    metadata = json.dumps({"Version": 2, "UpdatedAt": moment})
    (cache / "db" / "metadata.json").write_text(metadata, encoding="utf-8")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry without delay."""
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for Trivy and for the harness."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    return tmp_path / "cache"


def test_database_is_downloaded_from_the_repositories_that_were_named(
    cache: Path, tmp_path: Path
) -> None:
    """Every `--db-repository` reaches Trivy in order."""
    trivy = ScriptedTrivy()
    options = ScanOptions(db_repositories=("a/db:2", "b/db:2"))
    found = ready_database(trivy, options, cache, tmp_path)
    assert trivy.asked[0][-4:] == ["--db-repository", "a/db:2", "--db-repository", "b/db:2"]
    assert datetime.now(UTC) - found.updated_at < timedelta(hours=2)
    assert (found.source, found.stand_in) == ("GitHub Security Advisory Go", None)


@pytest.mark.parametrize(
    "words",
    [
        *(BUSY, LIMITED, BUSY.replace("503", "429")),
        'Get "https://registry/v2/": dial tcp 192.0.2.1:443: i/o timeout',
        'Get "https://registry/v2/": net/http: TLS handshake timeout',
        "oci download error: context deadline exceeded (Client.Timeout or context cancellation)",
        "read tcp 10.0.0.1:4->192.0.2.1:443: read: connection reset by peer",
        "write tcp 10.0.0.1:4->192.0.2.1:443: write: broken pipe",
        "failed to copy: unexpected EOF",
        'Get "https://registry/v2/": EOF',
        "http2: server sent GOAWAY and closed the connection",
        "stream error: stream ID 1; INTERNAL_ERROR; received from peer",
    ],
)
def test_what_can_pass_is_tried_again(cache: Path, tmp_path: Path, words: str) -> None:
    """Two failures that can pass and then a good answer: the database is there."""
    trivy = ScriptedTrivy(failures=[words, words])
    assert ready_database(trivy, ScanOptions(), cache, tmp_path)
    assert trivy.downloads == 3


def test_attempts_are_bounded(cache: Path, tmp_path: Path) -> None:
    """A registry that stays busy makes the scan impossible; its message is shown."""
    trivy = ScriptedTrivy(failures=[BUSY] * 20)
    with pytest.raises(ScanImpossibleError, match="503 Service Unavailable"):
        ready_database(trivy, ScanOptions(), cache, tmp_path)
    assert trivy.downloads == ATTEMPTS


@pytest.mark.parametrize("words", [DENIED, NO_HOST, "GET http://r/503: status code 404 Not Found"])
def test_what_cannot_pass_is_asked_once(cache: Path, tmp_path: Path, words: str) -> None:
    """A definite error and an unknown host are not retried."""
    trivy = ScriptedTrivy(failures=[words])
    with pytest.raises(ScanImpossibleError, match="cannot download the vulnerability"):
        ready_database(trivy, ScanOptions(), cache, tmp_path)
    assert trivy.downloads == 1


@pytest.mark.parametrize("option", ["skip_db_update", "offline"])
def test_without_update_nothing_is_downloaded(cache: Path, tmp_path: Path, option: str) -> None:
    """`--skip-db-update` and `--offline` use the cached database."""
    put_database(cache)
    trivy = ScriptedTrivy()
    assert ready_database(trivy, ScanOptions(**{option: True}), cache, tmp_path)  # type: ignore[arg-type]
    assert trivy.downloads == 0


@pytest.mark.parametrize("missing", ["trivy.db", "metadata.json"])
def test_missing_database_is_an_impossible_scan(cache: Path, tmp_path: Path, missing: str) -> None:
    """Without the file there is no scan."""
    put_database(cache)
    (cache / "db" / missing).unlink()
    with pytest.raises(ScanImpossibleError, match="no vulnerability database in"):
        ready_database(ScriptedTrivy(), ScanOptions(offline=True), cache, tmp_path)


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"UpdatedAt": "yesterday"}', '{"UpdatedAt": 1}', '{"UpdatedAt": [null]}'],
)
def test_metadata_that_says_nothing_is_corrupt(cache: Path, tmp_path: Path, text: str) -> None:
    """A database without a date may be of any age."""
    put_database(cache)
    (cache / "db" / "metadata.json").write_text(text, encoding="utf-8")
    with pytest.raises(ScanImpossibleError, match="corrupt"):
        ready_database(ScriptedTrivy(), ScanOptions(offline=True), cache, tmp_path)


def test_corrupt_database_is_an_impossible_scan(cache: Path, tmp_path: Path) -> None:
    """The message contains Trivy's error."""
    put_database(cache)
    trivy = ScriptedTrivy(broken="failed to open db: invalid database")
    with pytest.raises(ScanImpossibleError, match="init error: failed to open db"):
        ready_database(trivy, ScanOptions(offline=True), cache, tmp_path)


def test_database_that_finds_nothing_is_not_trusted(cache: Path, tmp_path: Path) -> None:
    """An empty database would pass every image, so it must list a known vulnerability."""
    put_database(cache)
    with pytest.raises(ScanImpossibleError, match=f"does not list {CANARY}"):
        ready_database(ScriptedTrivy(canary=None), ScanOptions(offline=True), cache, tmp_path)


@pytest.mark.parametrize(("days", "passes"), [(6.9, True), (7.1, False)])
def test_too_old_database_is_an_impossible_scan(
    cache: Path, tmp_path: Path, days: float, *, passes: bool
) -> None:
    """The message has the date, the age and the option."""
    put_database(cache, age=timedelta(days=days))
    options = ScanOptions(skip_db_update=True)
    if passes:
        assert ready_database(ScriptedTrivy(), options, cache, tmp_path)
        return
    with pytest.raises(ScanImpossibleError, match=r"7 days old.* limit of 7 days.*--max-db-age"):
        ready_database(ScriptedTrivy(), options, cache, tmp_path)


def test_stand_in_database_that_is_there_is_only_used_when_allowed(
    cache: Path, tmp_path: Path
) -> None:
    """A database whose source says it is a stand-in is reported, and rejected by default."""
    put_database(cache)
    trivy = ScriptedTrivy(canary="Stand-in of GitHub Security Advisory Go")
    with pytest.raises(ScanImpossibleError, match="is a stand-in"):
        ready_database(trivy, ScanOptions(offline=True), cache, tmp_path)
    allowed = ScanOptions(offline=True, stand_ins=StandInPolicy.AUTO)
    found = ready_database(trivy, allowed, cache, tmp_path)
    assert found.stand_in is not None
    assert found.stand_in.kind == "vulnerability database"


@pytest.mark.parametrize(
    ("policy", "failures", "used"),
    [
        pytest.param(StandInPolicy.AUTO, [NO_HOST], True, id="auto-unreachable"),
        pytest.param(StandInPolicy.ALWAYS, [], True, id="always"),
        pytest.param(StandInPolicy.AUTO, [], False, id="auto-reachable"),
    ],
)
def test_stand_in_database_is_apart_and_says_why(
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    policy: StandInPolicy,
    failures: list[str],
    *,
    used: bool,
) -> None:
    """A stand-in has its own directory, and the report has the reason."""
    monkeypatch.setattr(
        "harness.scan.database.make_database", lambda path: put_database(path.parent)
    )
    trivy = ScriptedTrivy(failures=failures)
    found = ready_database(trivy, ScanOptions(stand_ins=policy), cache, tmp_path)
    assert (found.stand_in is not None) is used
    assert (found.cache != cache) is used
    if found.stand_in and failures:
        assert found.stand_in.why == "no registry with it can be reached (no such host)"


@pytest.mark.parametrize("words", [DENIED, BUSY])
def test_answer_of_a_registry_is_not_replaced_by_a_stand_in(
    cache: Path, tmp_path: Path, words: str
) -> None:
    """A registry's error response is final, even if stand-ins are allowed."""
    trivy = ScriptedTrivy(failures=[words] * ATTEMPTS)
    options = ScanOptions(stand_ins=StandInPolicy.AUTO)
    with pytest.raises(ScanImpossibleError, match="cannot download the vulnerability"):
        ready_database(trivy, options, cache, tmp_path)
