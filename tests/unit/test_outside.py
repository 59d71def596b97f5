"""Servers with endless responses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from harness.build.assets import preflight
from harness.core.errors import HarnessError
from harness.core.regions import load_regions
from harness.core.stages import Architecture
from harness.core.untrusted import MOST_BYTES
from harness.registry import RegistryClient, Repository, RetryPolicy, Transport, referrers
from tests.local_server import LocalServer, QuietHandler

PIECE = b"x" * (1 << 16)
MOST_SENT = 4 * MOST_BYTES  # plus whatever fits into the socket buffers
DIGEST = f"sha256:{'0' * 64}"


class Endless:
    """Sends bytes to every request until the client disconnects, and counts them."""

    def __init__(self) -> None:
        self.status = 200
        self.sent: list[int] = []  # bytes, per request
        endless = self

        class Handler(QuietHandler):
            def do_GET(self) -> None:  # noqa: N802 (its name in http.server)
                self.send_response(endless.status)
                if endless.status == 307:
                    self.send_header("Location", "/v2/")
                if endless.status == 401:
                    realm = f'Bearer realm="{endless.server.url}/token"'
                    self.send_header("WWW-Authenticate", realm)
                self.end_headers()
                sent = 0
                with suppress(OSError):
                    while sent < MOST_SENT:
                        sent += self.wfile.write(PIECE)
                endless.sent.append(sent)

        self.server = LocalServer(Handler)


@pytest.fixture
def endless() -> Iterator[Endless]:
    """The server."""
    made = Endless()
    yield made
    made.server.close()


ASKED: dict[str, Callable[[RegistryClient], object]] = {
    "manifest": lambda client: client.manifest(DIGEST),
    "tags": lambda client: client.tags(),
    "referrers": lambda client: referrers(client, DIGEST),
}


@pytest.mark.parametrize("status", [200, 307, 401, 403, 500])
@pytest.mark.parametrize("what", ASKED)
def test_registry_without_an_end_is_left(endless: Endless, what: str, status: int) -> None:
    """Responses, redirects, challenges and refusals are read up to a limit, once, then reported."""
    endless.status = status
    policy = RetryPolicy(attempts=3, pause=0.001, longest_pause=0.001)
    repository = Repository.from_names(endless.server.url, "owner/image")
    with (
        RegistryClient(Transport(repository, policy=policy)) as client,
        pytest.raises(HarnessError, match=r"GET http://\S+: the response exceeds the limit of"),
    ):
        ASKED[what](client)
    assert len(endless.sent) <= 1
    assert all(sent < MOST_SENT for sent in endless.sent)


def test_release_server_without_an_end_is_left(endless: Endless) -> None:
    """A list of checksums without an end is no list, and is not asked for again."""
    with pytest.raises(HarnessError, match=r"checksums\.txt: the response exceeds the limit of"):
        preflight("v1.2.3", Architecture.AMD64, load_regions(), endless.server.url)
    assert len(endless.sent) <= 1
