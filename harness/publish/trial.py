"""The trial: pull the pushed image by digest and run it before it is tagged."""

from contextlib import suppress

import requests
from docker.errors import DockerException

from harness.core.console import step
from harness.core.errors import HarnessError, RegistryError
from harness.core.regions import METRICS_PORT, load_regions, regions_in_image
from harness.core.wait import wait_until
from harness.engine.container import Options, running
from harness.engine.provision import Engine
from harness.publish.plan import Plan
from harness.publish.pull import pull_published
from harness.registry import Credentials

# Generous: the proof has already measured SC-002 (ready within 10 s) and SC-003 (stop within 5 s).
READY_SECONDS = 60
STOP_SECONDS = 15


def pull_and_run(engine: Engine, plan: Plan, credentials: Credentials | None) -> str:
    """Pull the index by digest, run the image of the engine's platform, and stop it.

    Raises `RegistryError` if the pulled image is not the tested one, and `HarnessError` if it does
    not become ready or stop cleanly.
    """
    image = next((i for i in plan.images if i.architecture == engine.architecture), None)
    if image is None:
        return f"not run: no image for {engine.architecture}"
    found = pull_published(engine.client, plan.name, credentials).id
    expected = {image.image.config.digest, image.image.manifest.digest, plan.index.digest}
    if found not in expected:
        raise RegistryError(
            f"pulling {plan.name} gave {found}, but {image.image.config.digest} was tested"
        )
    regions = [r.name for r in regions_in_image(image.image.labels, load_regions())]
    options = Options(ports=[METRICS_PORT])
    try:
        with (
            step(f"running {plan.name}"),
            running(engine.client, plan.name, regions, options) as container,
        ):
            url = container.url(METRICS_PORT, "/readyz")
            wait_until(
                lambda: container.expect_alive() or _ready(url),  # type: ignore[func-returns-value]
                timeout=READY_SECONDS,
                what=f"{len(regions)} regions of the pulled image are ready",
                explain=lambda: "\n".join(container.tail_text()),
            )
            container.signal("SIGTERM")
            if not container.wait_dead(STOP_SECONDS) or container.exit_code != 0:
                raise HarnessError(
                    f"the pulled image did not stop cleanly: exit code {container.exit_code}"
                )
    finally:
        # Removes only the registry reference; the image that was built stays.
        with suppress(DockerException):
            engine.client.images.remove(plan.name)
    return f"pulled by digest and run on {image.image.platform}: {len(regions)} regions ready"


def _ready(url: str) -> bool:
    try:
        return bool(requests.get(url, timeout=2).status_code == requests.codes.ok)
    except requests.RequestException:
        return False
