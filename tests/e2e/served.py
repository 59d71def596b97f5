"""The image as a container of testcontainers: it starts, serves on every port, and is removed."""

from __future__ import annotations

from typing import Any

from testcontainers.core.config import ConnectionMode, testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import HttpWaitStrategy

from harness.core.labels import run_labels
from harness.core.regions import METRICS_PORT, load_regions

REGIONS = load_regions()
HOST = "127.0.0.1"
READY_SECONDS = 15


class ServedImage(DockerContainer):
    """A container of the image; `with` waits until every region is ready.

    For tests that only talk to it. `harness.engine.container` also follows its log and its end.
    """

    def __init__(self, reference: str, *, sysctls: dict[str, str] | None = None) -> None:
        use_harness_engine()
        ports = [*(region.port for region in REGIONS), METRICS_PORT]
        # The labels tell `sweep` and the check for leftovers that it is one of ours.
        super().__init__(reference, labels=run_labels(), sysctls=sysctls or {})
        loopback: Any = {f"{port}/tcp": (HOST, 0) for port in ports}  # its type has bare ports only
        self.ports.update(loopback)
        ready = HttpWaitStrategy(METRICS_PORT, "/readyz").for_status_code(200)
        self.waiting_for(ready.with_startup_timeout(READY_SECONDS).with_poll_interval(0.1))

    def url(self, port: int, path: str = "") -> str:
        """URL of a published container port."""
        return f"http://{self.address(port)}{path}"

    def address(self, port: int) -> str:
        """Host and port that a container port is published on."""
        return f"{self.get_container_host_ip()}:{self.get_exposed_port(port)}"


def use_harness_engine() -> None:
    """Configure testcontainers for the engine at DOCKER_HOST, which is on this machine.

    Ryuk, its own cleaner, would have to be pulled; `sweep` cleans up instead.
    """
    testcontainers_config.ryuk_disabled = True
    testcontainers_config.tc_host_override = HOST
    testcontainers_config.connection_mode_override = ConnectionMode.docker_host
