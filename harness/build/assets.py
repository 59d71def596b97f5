"""Find a release of the plugin and check that it is complete, before downloading anything."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import requests
from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from harness.core.console import step
from harness.core.errors import ReleaseError, UsageError
from harness.core.proof import StandIn
from harness.core.regions import Region, names_in, select
from harness.core.stages import Architecture, Asset, Release, StandInPolicy, asset_name
from harness.core.untrusted import TooLargeError, bounded_session
from harness.stand_ins.release import StandInPlugin, serve_release

RELEASES = "https://github.com/rshade/finfocus-plugin-aws-public/releases/download"
CHECKSUMS = "checksums.txt"
LOCAL_VERSION = "v0.0.0-local"
MISSING = "missing"
"""Accepted by `--without` instead of a region's name: every region that the release lacks."""
TIMEOUT_SECONDS = (10, 60)  # to connect, between bytes
ATTEMPTS = 5
# As expected_checksum in image/build/download.sh reads it.
_CHECKSUM = re.compile(
    r"^(?P<digest>[0-9a-fA-F]{64})[ \t]+[*]?(?P<name>[^ \t\r\n]+)[ \t]*\r?$", re.MULTILINE
)


class _MayPassError(Exception):
    """A failure that may be transient: 429, 5xx, a broken connection."""


class UnreachableError(ReleaseError):
    """The server is unreachable, as opposed to answering with an error."""


def check_version(version: str) -> str:
    """`version` if it can be a release tag, such as "v0.1.5"; `UsageError` otherwise."""
    number = version.removeprefix("v")
    plain = number.replace(".", "").replace("-", "").replace("+", "")
    if not version.startswith("v") or not number[:1].isdigit() or not plain.isalnum():
        raise UsageError(f"{version!r} is not a release. Use one like v0.1.5.")
    return version


def is_local(version: str) -> bool:
    """Whether `version` is a stand-in version, such as "v0.0.0-local" or "v1.2.3-local"."""
    return version.partition("-")[2] == LOCAL_VERSION.partition("-")[2]


def chosen(table: Sequence[Region], without: Sequence[str]) -> tuple[tuple[Region, ...], bool]:
    """The regions of `table` that `without` leaves, and whether `without` contains `MISSING`.

    Raises what `select` raises.
    """
    names = names_in(without)
    return select(table, [name for name in names if name != MISSING]), MISSING in names


@contextmanager
def find_release(
    version: str,
    architecture: Architecture,
    table: Sequence[Region],
    *,
    without: Sequence[str] = (),
    base_url: str = RELEASES,
    policy: StandInPolicy = StandInPolicy.AUTO,
    plugin: StandInPlugin | None = None,
) -> Iterator[Release]:
    """Release `version`, complete, for the duration of the block.

    It has every region of `table` except those named in `without`, which may include `MISSING`.
    A stand-in release is served from loopback if the real server is unreachable and `policy`
    allows it. A server that answers, even with "not found", is never replaced.
    Raises `ReleaseError` naming every region without an asset, and what `select` raises.
    """
    regions, lenient = chosen(table, without)
    look = partial(preflight, version, architecture, regions, lenient=lenient)
    why = "requested by --stand-ins always"
    if is_local(version):
        why = f"{version} is a stand-in version"
    if policy is not StandInPolicy.ALWAYS:
        try:
            release = look(base_url)
        except UnreachableError as error:
            if policy is StandInPolicy.NEVER:
                raise UnreachableError(
                    f"{error}. Check the network, or allow a stand-in with --stand-ins auto."
                ) from error
            why = str(error)
        else:
            yield _told_what_is_left_out(release, table)
            return
    with serve_release(plugin or StandInPlugin(), version, architecture, regions) as url:
        stand_in = StandIn(kind="plugin", replaces=f"{base_url}/{version}", why=why)
        yield _told_what_is_left_out(replace(look(url), stand_in=stand_in), table)


def _told_what_is_left_out(release: Release, table: Sequence[Region]) -> Release:
    return replace(release, left_out=tuple(r for r in table if r not in release.regions))


def preflight(
    version: str,
    architecture: Architecture,
    regions: Sequence[Region],
    base_url: str,
    *,
    lenient: bool = False,
) -> Release:
    """Check that the server has every asset, without downloading one.

    Returns the release with checksums and sizes. Raises `ReleaseError` that names each region
    whose tarball or checksum is missing; if `lenient`, one available region is enough.
    """
    root = f"{base_url}/{version}"
    with step(f"checking the {len(regions)} assets of {version} ({architecture})"):
        checksums = _request("GET", f"{root}/{CHECKSUMS}")
        if checksums.status_code != requests.codes.ok:
            raise ReleaseError(
                f"release {version} has no {CHECKSUMS} (HTTP {checksums.status_code})."
                f" Check the version at {base_url}"
            )
        expected = parse_checksums(checksums.text)
        names = {region: asset_name(region, version, architecture) for region in regions}
        with ThreadPoolExecutor(len(regions)) as pool:
            answers = dict(
                zip(
                    regions,
                    pool.map(lambda name: _request("HEAD", f"{root}/{name}"), names.values()),
                    strict=True,
                )
            )
    problems = {}
    for region, answer in answers.items():
        if answer.status_code != requests.codes.ok:
            problems[region] = f"{names[region]} (HTTP {answer.status_code})"
        elif names[region] not in expected:
            problems[region] = f"{names[region]} is not in {CHECKSUMS}"
    if problems and not (lenient and len(problems) < len(regions)):
        raise ReleaseError(_missing(version, architecture, regions, problems))
    assets = tuple(
        Asset(
            region=region,
            name=names[region],
            sha256=expected[names[region]],
            size_bytes=_size(answer.headers.get("Content-Length", "")),
        )
        for region, answer in answers.items()
        if region not in problems
    )
    return Release(
        version=version,
        architecture=architecture,
        base_url=base_url,
        assets=assets,
        checksums_sha256=hashlib.sha256(checksums.content).hexdigest(),
    )


def _missing(
    version: str,
    architecture: Architecture,
    regions: Sequence[Region],
    problems: Mapping[Region, str],
) -> str:
    """What a release lacks, and how to build it without the missing regions."""
    lines = [
        (
            f"release {version} cannot be built for {architecture}: {len(problems)} of"
            f" {len(regions)} regions are missing"
        ),
        *(f"{region.name}: {problem}" for region, problem in problems.items()),
    ]
    if len(problems) < len(regions):
        options = " ".join(f"--without {region.name}" for region in problems)
        lines.append(f"to build it without them: {options}")
    return "\n  ".join(lines)


def _size(text: str) -> int | None:
    """A Content-Length (RFC 9110, section 8.6) as a number; None if invalid or 0."""
    return (int(text) or None) if text.isascii() and text.isdecimal() else None


def parse_checksums(text: str) -> dict[str, str]:
    """File name to SHA-256 of the lines `HEX  NAME` (sha256sum(1)); other lines are ignored."""
    found: dict[str, str] = {}
    for match in _CHECKSUM.finditer(text):
        found.setdefault(match["name"], match["digest"].lower())
    return found


def _request(method: str, url: str) -> requests.Response:
    """The server's response; only transient failures are retried."""
    attempts = Retrying(
        retry=retry_if_exception_type(_MayPassError),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.2, max=5),
        reraise=True,
    )
    try:
        return attempts(_request_once, method, url)
    except _MayPassError as error:
        raise ReleaseError(f"the release server failed: {error}. Try again later.") from error


def _request_once(method: str, url: str) -> requests.Response:
    try:
        with bounded_session() as session:
            answer = session.request(method, url, timeout=TIMEOUT_SECONDS, allow_redirects=True)
    except TooLargeError as error:
        raise ReleaseError(f"{url}: {error}") from error
    except requests.ConnectionError as error:
        if _never_connected(error):
            host = url.split("/")[2]
            raise UnreachableError(f"{host} is unreachable from this machine") from error
        raise _MayPassError(f"{url}: connection broken") from error
    except requests.RequestException as error:
        raise _MayPassError(f"{url}: {type(error).__name__}") from error
    code = answer.status_code
    if code == requests.codes.too_many_requests or code >= requests.codes.server_error:
        raise _MayPassError(f"{url}: HTTP {answer.status_code}")
    return answer


def _never_connected(error: requests.ConnectionError) -> bool:
    """Whether DNS, routing or the connection failed before the server could answer."""
    text = repr(error)
    return any(sign in text for sign in ("NameResolution", "NewConnection", "ProxyError"))
