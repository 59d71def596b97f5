"""Removes what a killed run left behind."""

from contextlib import suppress

import docker
from docker.errors import APIError

from harness.console import say
from harness.labels import RUN, is_orphan


def sweep(client: docker.DockerClient, *, everything: bool = False) -> list[str]:
    """Remove containers and networks of harness runs that have ended; returns their names.

    With `everything` those of running runs as well.
    """
    removed = []
    for thing in (
        *client.containers.list(all=True, filters={"label": RUN}, ignore_removed=True),
        *client.networks.list(filters={"label": RUN}),
    ):
        labels = thing.attrs.get("Labels") or (thing.attrs.get("Config") or {}).get("Labels") or {}
        if not everything and not is_orphan(labels):
            continue
        with suppress(APIError):
            if isinstance(thing, docker.models.containers.Container):
                thing.remove(force=True, v=True)
            else:
                thing.remove()
            removed.append(str(thing.name))
    if removed:
        say(f"• removed what an earlier run left: {', '.join(removed)}")
    return removed
