"""Removes what a killed run left behind."""

from contextlib import suppress

import docker
from docker.errors import APIError

from harness import binfmt
from harness.console import say
from harness.labels import RUN, is_orphan
from harness.temporary import sweep_directories


def sweep(client: docker.DockerClient, *, everything: bool = False) -> list[str]:
    """Remove what harness runs that have ended left; returns the names of it.

    That is containers, directories and emulators.

    With `everything` those of running runs as well.
    """
    removed = []
    found = client.containers.list(all=True, filters={"label": RUN}, ignore_removed=True)
    for container in found:
        if not everything and not is_orphan(container.labels):
            continue
        with suppress(APIError):
            container.remove(force=True, v=True)
            removed.append(str(container.name))
    removed += sweep_directories()
    removed += binfmt.sweep()
    if removed:
        say(f"• removed what an earlier run left: {', '.join(removed)}")
    return removed
