"""The vulnerability database: downloaded when needed, not too old, and one that knows something."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from harness.core.cache import cache_directory
from harness.core.console import step
from harness.core.errors import CommandError, ScanImpossibleError
from harness.core.proof import StandIn
from harness.core.stages import StandInPolicy
from harness.core.untrusted import UNREADABLE, reading
from harness.scan.model import Database, ScanOptions
from harness.scan.tool import REMEDY, Trivy
from harness.stand_ins.database import STAND_IN_SOURCE, make_database

ATTEMPTS = 5
TRIVYS_OWN = "mirror.gcr.io/aquasec/trivy-db and ghcr.io/aquasecurity/trivy-db"
QUIET = ("--quiet", "--skip-version-check", "--disable-telemetry")
# In memory, what Trivy learns of an image: a cache file admits one scan at a time.
NO_UPDATE = (
    *("--skip-db-update", "--skip-java-db-update", "--offline-scan"),
    *("--cache-backend", "memory"),
)

# What go-containerregistry says of an answer: "unexpected status code 503 Service Unavailable", or
# the registry's own code (OCI distribution spec, error codes).
_MAY_PASS = re.compile(r"status code (?:429|5\d\d)\b|TOOMANYREQUESTS|\b429 Too Many Requests")
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
    """An answer that a later attempt may not get: 429 or 5xx."""


class _UnreachableError(ScanImpossibleError):
    """No server was reached, as opposed to: it answered no; `sign` is how that was seen."""

    sign = ""


def ready_database(trivy: Trivy, options: ScanOptions, cache: Path, directory: Path) -> Database:
    """A database, up to date as `options` ask, that was seen to find something.

    It is the one in the cache directory `cache`, unless a stand-in may and has to do. `directory`
    is a scratch directory. Raises `ScanImpossibleError`: it cannot be downloaded, is missing, too
    old, corrupt, or does not know a module that has been vulnerable for years.
    """
    stand_in, apart = None, cache_directory() / "trivy-stand-in"
    if options.stand_ins is StandInPolicy.ALWAYS:
        stand_in = _stand_in(apart, "asked for by --stand-ins always")
    elif not (options.skip_db_update or options.offline):
        try:
            _download(trivy, options, cache, directory)
        except _UnreachableError as error:
            if options.stand_ins is StandInPolicy.NEVER:
                raise
            stand_in = _stand_in(apart, f"no registry with it can be reached ({error.sign})")
    # Apart, so that a real database that is there is neither lost nor taken for the stand-in.
    cache = apart if stand_in else cache
    updated_at = _updated_at(cache)
    _check_age(updated_at, options.max_age)
    source = _sing(trivy, cache, directory)
    if stand_in is None and source.startswith(STAND_IN_SOURCE):
        stand_in = StandIn(
            kind="vulnerability database", replaces=TRIVYS_OWN, why="its own data source says so"
        )
    if stand_in and options.stand_ins is StandInPolicy.NEVER:
        raise ScanImpossibleError(
            f"the vulnerability database in {cache} is a stand-in that knows next to nothing:"
            f" remove {cache / 'db'}, or allow it with --stand-ins auto"
        )
    return Database(updated_at=updated_at, source=source, cache=cache, stand_in=stand_in)


def words_of(error: CommandError) -> str:
    """Trivy's own words for why it failed, without its log around them."""
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
    with step("downloading the vulnerability database"):
        try:
            attempts(_download_once, trivy, command, cache, directory)
        except _MayPassError as error:
            raise ScanImpossibleError(
                f"the vulnerability database cannot be downloaded, {ATTEMPTS} times: {error}"
                f"\n{_remedy()}"
            ) from error


def _download_once(trivy: Trivy, command: list[str], cache: Path, directory: Path) -> None:
    try:
        trivy.run(command, cache=cache, directory=directory)
    except CommandError as error:
        words = words_of(error)
        if _MAY_PASS.search(words):
            raise _MayPassError(words) from error
        text = f"the vulnerability database cannot be downloaded: {words}\n{_remedy()}"
        if match := _UNREACHABLE.search(words):
            unreachable = _UnreachableError(text)
            unreachable.sign = match.group()
            raise unreachable from error
        raise ScanImpossibleError(text) from error


def _remedy() -> str:
    return (
        "try again later, name another registry with --db-repository, or use one that is there"
        " with --skip-db-update"
    )


def _stand_in(cache: Path, why: str) -> StandIn:
    make_database(cache / "db")
    return StandIn(kind="vulnerability database", replaces=TRIVYS_OWN, why=why)


def _updated_at(cache: Path) -> datetime:
    """When the database in `cache` was made (`metadata.json` of trivy-db)."""
    path = cache / "db" / "metadata.json"
    if not path.exists() or not (cache / "db" / "trivy.db").exists():
        raise ScanImpossibleError(
            f"there is no vulnerability database in {cache}: put one there, or drop"
            " --skip-db-update and --offline"
        )
    try:
        data: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        moment = datetime.fromisoformat(str(data["UpdatedAt"]))
    except (*UNREADABLE, OSError) as error:
        raise ScanImpossibleError(
            f"the vulnerability database in {cache} is corrupt, its metadata.json says nothing"
            f" ({type(error).__name__}): remove {cache / 'db'} and download it again"
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _check_age(updated_at: datetime, limit: timedelta) -> None:
    age = datetime.now(UTC) - updated_at
    if age > limit:
        raise ScanImpossibleError(
            f"the vulnerability database is of {updated_at:%Y-%m-%d}, {age.days} days old, and at"
            f" most {limit.days} are allowed: update it, or raise --max-db-age"
        )


def _sing(trivy: Trivy, cache: Path, directory: Path) -> str:
    """Look up a module that is known to be vulnerable; return the data source that knows it.

    A database that opens and yet is empty or of another schema finds nothing in any image.
    """
    (directory / "canary.cdx.json").write_text(json.dumps(_CANARY_SBOM), encoding="utf-8")
    command = ["sbom", *QUIET, *NO_UPDATE, "--format", "json", "canary.cdx.json"]
    try:
        text = trivy.run(command, cache=cache, directory=directory)
    except CommandError as error:
        raise ScanImpossibleError(
            f"the vulnerability database in {cache} cannot be used: {words_of(error)}"
            f"\nremove {cache / 'db'} and download it again"
        ) from error
    with reading("Trivy's answer", ScanImpossibleError, REMEDY):
        answer = json.loads(text)
        for result in answer.get("Results") or ():
            for found in result.get("Vulnerabilities") or ():
                return str((found.get("DataSource") or {}).get("Name") or "unnamed data source")
    raise ScanImpossibleError(
        f"the vulnerability database in {cache} knows nothing of {CANARY} {_CANARY_VERSION}, which"
        f" has been vulnerable for years: it is empty or not Trivy's; remove {cache / 'db'} and"
        " download it again"
    )
