"""Single requests to a container."""

import http.client
from contextlib import closing, suppress

import requests

from harness.core.errors import HarnessError
from harness.core.regions import Region
from harness.core.untrusted import bounded_session
from harness.engine.container import RunningContainer

PROBE_PAUSE = 0.02  # seconds between two requests to one region
PROBE_TIMEOUT = 2.0
ANSWER_SECONDS = 5.0
LOOPBACK = "127.0.0.1"


def answers(container: RunningContainer, region: Region) -> bool:
    """Whether the region's published port answers GET /healthz with 200."""
    return status_of(container, region.port, "/healthz") == http.client.OK


def status_of(container: RunningContainer, port: int, path: str) -> int:
    """HTTP status of a GET on a published container port, 0 if there was no response."""
    return get_status(container.host_ports[port], path) if port in container.host_ports else 0


def get_status(port: int, path: str, host: str = LOOPBACK) -> int:
    """HTTP status of a GET on a port, 0 if there was no response."""
    connection = http.client.HTTPConnection(host, port, timeout=PROBE_TIMEOUT)
    with closing(connection), suppress(OSError, http.client.HTTPException):
        connection.request("GET", path)
        return connection.getresponse().status
    return 0


def body_of(url: str, *, call: bool = False) -> bytes:
    """The body of the response to a GET, or to a Connect `call` without arguments.

    https://connectrpc.com/docs/protocol/#unary-request. Raises `HarnessError` if there is no
    response, its status is not 200, or it is larger than `MOST_BYTES`.
    """
    try:
        with bounded_session() as session:
            session.trust_env = False  # a proxy cannot reach this machine's loopback
            answer = session.request(
                "POST" if call else "GET", url, json={} if call else None, timeout=ANSWER_SECONDS
            )
    except requests.RequestException as error:
        raise HarnessError(f"{url}: {error}") from error
    if answer.status_code != requests.codes.ok:
        raise HarnessError(f"{url} returned HTTP {answer.status_code}: {answer.text[:200]}")
    return answer.content
