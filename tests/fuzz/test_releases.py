"""The release client against misbehaving servers: a correct release or one clear error."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.build.assets import preflight
from harness.core.errors import HarnessError
from harness.core.regions import load_regions
from harness.core.stages import Architecture, asset_name
from tests.local_server import LocalServer, QuietHandler

REGIONS = load_regions()[:2]
NAMES = [asset_name(region, "v1.2.3", Architecture.AMD64) for region in REGIONS]
CHECKSUMS = "".join(f"{'a' * 64}  {name}\n" for name in NAMES).encode()
GOOD = (200, {"Content-Length": "9"}, b"")

STATUS = st.sampled_from(
    [200, 200, 204, 206, 301, 302, 304, 401, 403, 404, 410, 418, 429, 500, 503]
)
HEADER = st.dictionaries(
    st.sampled_from(
        ["Content-Length", "Location", "Content-Encoding", "Content-Type", "Retry-After"]
    ),
    st.sampled_from(
        ["9", "0", "-1", "many", "", "1, 2", "99999999999999999999", "gzip", "//", "/loop"]
    ),
    max_size=2,
)
ANSWER = st.tuples(STATUS, HEADER, st.binary(max_size=30) | st.just(CHECKSUMS)) | st.just(None)
"""Status, headers and body; None breaks the connection."""


class Server(LocalServer):
    """Returns checksums and assets as configured."""

    def __init__(self) -> None:
        self.checksums: object = None
        self.asset: object = None
        outer = self

        class Handler(QuietHandler):
            def do_GET(self) -> None:  # noqa: N802 (as http.server calls it)
                self._answer(outer.checksums)

            def do_HEAD(self) -> None:  # noqa: N802
                self._answer(outer.asset)

            def _answer(self, planned: object) -> None:
                self.close_connection = True
                if planned is None:
                    return
                assert isinstance(planned, tuple)
                status, headers, body = planned
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

        super().__init__(Handler)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One server for all examples."""
    made = Server()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the pauses between retries."""
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _seconds: None)


@given(checksums=ANSWER, asset=ANSWER)
@example(checksums=(200, {}, CHECKSUMS), asset=(200, {"Content-Length": "many"}, b""))
@example(checksums=(200, {}, CHECKSUMS), asset=GOOD)
@example(checksums=(302, {"Location": "/loop"}, b""), asset=None)
@example(checksums=(302, {"Location": "//"}, b""), asset=None)
def test_fr_018_any_server_gives_a_release_or_one_error(
    server: Server, checksums: object, asset: object
) -> None:
    """FR-018 (missing tarball fails the build): a complete release or an error message."""
    server.checksums, server.asset = checksums, asset
    try:
        release = preflight("v1.2.3", Architecture.AMD64, REGIONS, server.url)
    except HarnessError:
        return
    assert [found.name for found in release.assets] == NAMES
    assert all(found.sha256 == "a" * 64 for found in release.assets)
    assert all(found.size_bytes is None or found.size_bytes > 0 for found in release.assets)
