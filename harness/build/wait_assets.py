"""Wait for a release's assets to finish uploading."""

from collections.abc import Sequence

from harness.build.assets import UnreachableError, check_version, preflight
from harness.core.console import say
from harness.core.errors import ReleaseError, WaitTimeoutError
from harness.core.regions import Region
from harness.core.stages import Architecture
from harness.core.wait import wait_until


def wait_for_release(
    version: str,
    architectures: Sequence[Architecture],
    regions: Sequence[Region],
    base_url: str,
    *,
    timeout: float,
    interval: float,
) -> None:
    """Return when release `version` is complete for all `architectures`.

    Checks every `interval` seconds, for at most `timeout` seconds. Then raises `ReleaseError` that
    names what is missing. Fails immediately if the server is unreachable.
    """
    check_version(version)
    missing: dict[Architecture, str] = {}

    def complete() -> bool:
        for architecture in architectures:
            try:
                preflight(version, architecture, regions, base_url)
                missing.pop(architecture, None)
            except UnreachableError:
                raise
            except ReleaseError as error:
                missing[architecture] = str(error)
        return not missing

    try:
        wait_until(
            complete,
            timeout=timeout,
            interval=interval,
            what=f"release {version} is complete",
            explain=lambda: "\n".join(missing.values()),
        )
    except WaitTimeoutError as error:
        raise ReleaseError(str(error)) from error
    say(f"✓ {version} has {len(regions)} assets for {', '.join(architectures)}")
