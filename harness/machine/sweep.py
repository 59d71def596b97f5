"""Clean up after interrupted runs."""

from collections.abc import Iterator
from contextlib import suppress

import docker
from docker.errors import APIError
from docker.models.containers import Container

from harness.core.console import say
from harness.core.labels import RUN, is_orphan
from harness.core.temporary import sweep_directories
from harness.engine import binfmt
from harness.kubernetes import kind


def sweep(client: docker.DockerClient, *, everything: bool = False) -> list[str]:
    """Remove what finished harness runs left behind; return the names.

    That is containers (including kind nodes), directories and emulators.

    With `everything`, also the containers of active runs.
    """
    removed = []
    for container in _left(client, everything=everything):
        with suppress(APIError):
            container.remove(force=True, v=True)
            removed.append(str(container.name))
    removed += sweep_directories()
    removed += binfmt.sweep()
    if removed:
        say(f"• cleaned up after an earlier run: {', '.join(removed)}")
    return removed


def _left(client: docker.DockerClient, *, everything: bool) -> Iterator[Container]:
    for container in _labelled(client, RUN):
        running = container.status not in {"created", "exited", "dead"}
        if everything or is_orphan(container.labels, running=running):
            yield container
    for container in _labelled(client, kind.CLUSTER_LABEL):
        if kind.is_ours(container.labels) and (everything or kind.is_orphan(container.labels)):
            yield container


def _labelled(client: docker.DockerClient, label: str) -> list[Container]:
    return client.containers.list(all=True, filters={"label": label}, ignore_removed=True)
