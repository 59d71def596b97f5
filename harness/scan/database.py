"""Provide the vulnerability database: download it, check its age, and check that it works."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from harness.core.cache import cache_directory
from harness.core.console import step
from harness.core.decode import member, objects, text
from harness.core.errors import CommandError, ScanImpossibleError
from harness.core.proof import StandIn
from harness.core.stages import StandInPolicy
from harness.core.transfer import watched_size
from harness.core.untrusted import MALFORMED, reading
from harness.scan.model import Database, ScanOptions
from harness.scan.tool import REMEDY, Trivy, temporary_files
from harness.stand_ins.database import STAND_IN_SOURCE, make_database

ATTEMPTS = 5
TRIVYS_OWN = "mirror.gcr.io/aquasec/trivy-db and ghcr.io/aquasecurity/trivy-db"
QUIET = ("--quiet", "--skip-version-check", "--disable-telemetry")
# The image cache is kept in memory: a cache file allows only one scan at a time.
NO_UPDATE = (
    *("--skip-db-update", "--skip-java-db-update", "--offline-scan"),
    *("--cache-backend", "memory"),
)

# go-containerregistry reports "unexpected status code 503 Service Unavailable", or the registry's
# own code (OCI distribution spec, error codes).
# The rest are the errors of Go's net, net/http and io packages for a connection that breaks.
_MAY_PASS = re.compile(
    r"status code (?:408|429|5\d\d)\b|TOOMANYREQUESTS|\b429 Too Many Requests"
    r"|i/o timeout|TLS handshake timeout|deadline exceeded|Client\.Timeout|timeout awaiting"
    r"|connection reset by peer|broken pipe|\bEOF\b|GOAWAY|stream error|connection lost"
)
_UNREACHABLE = re.compile(
    r"no such host|connection refused|network is unreachable|no route to host|server misbehaving"
)
_FATAL = re.compile(r"FATAL\s+(?:Fatal error\s+)?(?:run error: )?(?P<words>.*)", re.DOTALL)

CANARY = "golang.org/x/net"
_CANARY_VERSION = "v0.10.0"  # CVE-2023-39325 and several others, since 2023
_CANARY_SBOM = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.5",
    "version": 1,
    "components": [
        {
            "bom-ref": "canary",
            "type": "library",
            "name": CANARY,
            "version": _CANARY_VERSION,
            "purl": f"pkg:golang/{CANARY}@{_CANARY_VERSION}",
        }
    ],
}


class _MayPassError(Exception):
    """A transient failure: 408, 429, 5xx, a timeout, a broken connection."""


class _UnreachableError(ScanImpossibleError):
    """No server was reached; `sign` is the part of Trivy's message that shows it."""

    sign = ""


def ready_database(trivy: Trivy, options: ScanOptions, cache: Path, directory: Path) -> Database:
    """Return a database that is as recent as `options` require and is known to work.

    It is the one in the cache directory `cache`, or a stand-in if `options` allow one and no
    registry is reachable. `directory` is a scratch directory. Raises `ScanImpossibleError` if the
    download fails, or the database is missing, too old, corrupt, or does not list a module that
    has been vulnerable for years.
    """
    stand_in, apart = None, cache_directory() / "trivy-stand-in"
    if options.stand_ins is StandInPolicy.ALWAYS:
        stand_in = _stand_in(apart, "requested with --stand-ins always")
    elif not (options.skip_db_update or options.offline):
        try:
            _download(trivy, options, cache, directory)
        except _UnreachableError as error:
            if options.stand_ins is StandInPolicy.NEVER:
                raise
            stand_in = _stand_in(apart, f"no registry that serves it is reachable ({error.sign})")
    # A separate directory, so that a stand-in never overwrites a real database.
    cache = apart if stand_in else cache
    updated_at = _updated_at(cache)
    _check_age(updated_at, timedelta(days=options.max_db_age))
    source = _sing(trivy, cache, directory)
    if stand_in is None and source.startswith(STAND_IN_SOURCE):
        stand_in = StandIn(
            kind="vulnerability database",
            replaces=TRIVYS_OWN,
            why="its data source names it as one",
        )
    if stand_in and options.stand_ins is StandInPolicy.NEVER:
        raise ScanImpossibleError(
            f"the vulnerability database in {cache} is a stand-in with almost no entries:"
            f" remove {cache / 'db'}, or allow it with --stand-ins auto"
        )
    return Database(updated_at=updated_at, source=source, cache=cache, stand_in=stand_in)


def words_of(error: CommandError) -> str:
    """Extract Trivy's error message from its log output."""
    match = _FATAL.search(str(error))
    return " ".join((match["words"] if match else str(error)).split())


def _download(trivy: Trivy, options: ScanOptions, cache: Path, directory: Path) -> None:
    command = ["image", "--download-db-only", *QUIET]
    for repository in options.db_repositories:
        command += ["--db-repository", repository]
    attempts = Retrying(
        retry=retry_if_exception_type(_MayPassError),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_random_exponential(multiplier=1, max=30),
        reraise=True,
    )
    title = "downloading the vulnerability database"
    with step(title) as progress, watched_size(temporary_files(directory), progress):
        try:
            attempts(_download_once, trivy, command, cache, directory)
        except _MayPassError as error:
            raise ScanImpossibleError(
                f"cannot download the vulnerability database after {ATTEMPTS} attempts: {error}"
                f"\n{_remedy()}"
            ) from error


def _download_once(trivy: Trivy, command: list[str], cache: Path, directory: Path) -> None:
    try:
        trivy.run(command, cache=cache, directory=directory)
    except CommandError as error:
        words = words_of(error)
        if _MAY_PASS.search(words):
            raise _MayPassError(words) from error
        text = f"cannot download the vulnerability database: {words}\n{_remedy()}"
        if match := _UNREACHABLE.search(words):
            unreachable = _UnreachableError(text)
            unreachable.sign = match.group()
            raise unreachable from error
        raise ScanImpossibleError(text) from error


def _remedy() -> str:
    return (
        "try again later, choose another registry with --db-repository, or use the cached database"
        " with --skip-db-update"
    )


def _stand_in(cache: Path, why: str) -> StandIn:
    make_database(cache / "db")
    return StandIn(kind="vulnerability database", replaces=TRIVYS_OWN, why=why)


def _updated_at(cache: Path) -> datetime:
    """Return when the database in `cache` was built (`metadata.json` of trivy-db)."""
    path = cache / "db" / "metadata.json"
    if not path.exists() or not (cache / "db" / "trivy.db").exists():
        raise ScanImpossibleError(
            f"no vulnerability database in {cache}: run without --skip-db-update and --offline"
            " to download it"
        )
    try:
        moment: datetime = member(json.loads(path.read_bytes()), datetime, "UpdatedAt")
    except (*MALFORMED, OSError) as error:
        raise ScanImpossibleError(
            f"the vulnerability database in {cache} is corrupt: metadata.json has no date"
            f" ({type(error).__name__}); remove {cache / 'db'} and download it again"
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _check_age(updated_at: datetime, limit: timedelta) -> None:
    age = datetime.now(UTC) - updated_at
    if age > limit:
        raise ScanImpossibleError(
            f"the vulnerability database of {updated_at:%Y-%m-%d} is {age.days} days old, over the"
            f" limit of {limit.days} days: update it, or raise --max-db-age"
        )


def _sing(trivy: Trivy, cache: Path, directory: Path) -> str:
    """Look up a module that is known to be vulnerable; return the data source that lists it.

    A database that is empty or has another schema can open without error and find nothing.
    """
    (directory / "canary.cdx.json").write_text(json.dumps(_CANARY_SBOM), encoding="utf-8")
    command = ["sbom", *QUIET, *NO_UPDATE, "--format", "json", "canary.cdx.json"]
    try:
        answer = trivy.run(command, cache=cache, directory=directory)
    except CommandError as error:
        raise ScanImpossibleError(
            f"cannot use the vulnerability database in {cache}: {words_of(error)}"
            f"\nremove {cache / 'db'} and download it again"
        ) from error
    with reading("Trivy's answer", ScanImpossibleError, REMEDY):
        for result in objects(json.loads(answer), "Results"):
            for found in objects(result, "Vulnerabilities"):
                return text(found, "DataSource", "Name") or "unnamed data source"
    raise ScanImpossibleError(
        f"the vulnerability database in {cache} does not list {CANARY} {_CANARY_VERSION}, which"
        f" has been vulnerable for years: it is empty or not Trivy's; remove {cache / 'db'} and"
        " download it again"
    )
