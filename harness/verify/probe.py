"""Single requests to a container: does it answer, and with what."""

import http.client
from contextlib import closing, suppress

from harness.container import RunningContainer
from harness.regions import Region

PROBE_PAUSE = 0.02  # seconds between two requests to one region
PROBE_TIMEOUT = 2.0
LOOPBACK = "127.0.0.1"


def answers(container: RunningContainer, region: Region) -> bool:
    """Whether the region's published port answers GET /healthz with 200."""
    return status_of(container, region.port, "/healthz") == http.client.OK


def status_of(container: RunningContainer, port: int, path: str) -> int:
    """HTTP status of a GET on a published container port, 0 when there was no answer."""
    return get_status(container.host_ports[port], path) if port in container.host_ports else 0


def get_status(port: int, path: str, host: str = LOOPBACK) -> int:
    """HTTP status of a GET on a port, 0 when there was no answer."""
    connection = http.client.HTTPConnection(host, port, timeout=PROBE_TIMEOUT)
    with closing(connection), suppress(OSError, http.client.HTTPException):
        connection.request("GET", path)
        return connection.getresponse().status
    return 0
