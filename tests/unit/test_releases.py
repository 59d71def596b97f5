"""Finding a release: every missing region is named, and only transient errors are retried."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from harness.build.assets import check_version, find_release, parse_checksums, preflight
from harness.core.errors import ReleaseError, UsageError
from harness.core.regions import load_regions
from harness.core.stages import Architecture, StandInPolicy, asset_name
from tests.local_server import LocalServer, QuietHandler

REGIONS = load_regions()
NAMES = {r.name: asset_name(r, "v1.2.3", Architecture.ARM64) for r in REGIONS}


class Server(LocalServer):
    """A release server with configurable responses."""

    def __init__(self) -> None:
        self.missing: set[str] = set()
        self.unlisted: set[str] = set()
        self.failures: dict[str, list[int]] = {}
        self.asked: Counter[str] = Counter()
        outer = self

        class Handler(QuietHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:  # noqa: N802 (as http.server calls it)
                self._answer()

            def do_HEAD(self) -> None:  # noqa: N802
                self._answer()

            def _answer(self) -> None:
                name = self.path.rpartition("/")[2]
                outer.asked[name] += 1
                status, body = outer.answer(name)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

        super().__init__(Handler)

    def answer(self, name: str) -> tuple[int, bytes]:
        if self.failures.get(name):
            return self.failures[name].pop(0), b""
        if name in self.missing:
            return 404, b""
        if name == "checksums.txt":
            listed = [n for n in NAMES.values() if n not in self.unlisted]
            return 200, "".join(f"{'a' * 64}  {n}\n" for n in listed).encode()
        return (200, b"tar") if name in NAMES.values() else (404, b"")


@pytest.fixture
def server() -> Iterator[Server]:
    """A complete release, to be broken by tests."""
    made = Server()
    yield made
    made.close()


def test_fr_003_complete_release_has_an_asset_per_region(server: Server) -> None:
    """FR-003 (one tarball per region): each has checksum and size, for the architecture."""
    release = preflight("v1.2.3", Architecture.ARM64, REGIONS, server.url)
    assert [a.region for a in release.assets] == list(REGIONS)
    assert {a.name for a in release.assets} == set(NAMES.values())
    assert {(a.sha256, a.size_bytes) for a in release.assets} == {("a" * 64, 3)}


def test_fr_018_every_missing_region_is_named_and_asked_for_once(server: Server) -> None:
    """FR-018 (missing tarball fails the build): one message names all missing assets."""
    server.missing = {NAMES["us-gov-west-1"], NAMES["us-gov-east-1"]}
    server.unlisted = {NAMES["eu-west-1"]}
    with pytest.raises(ReleaseError) as caught:
        preflight("v1.2.3", Architecture.ARM64, REGIONS, server.url)
    assert f"3 of {len(REGIONS)}" in str(caught.value)
    for name in ("us-gov-west-1", "us-gov-east-1", "eu-west-1"):
        assert f"{name}: {NAMES[name]}" in str(caught.value)
    assert server.asked[NAMES["us-gov-west-1"]] == 1


def test_fr_018_message_names_the_options_that_leave_the_missing_out(server: Server) -> None:
    """FR-018: the message has the option to leave out each missing region."""
    server.missing = {NAMES["us-gov-west-1"], NAMES["us-gov-east-1"]}
    with pytest.raises(ReleaseError) as caught:
        preflight("v1.2.3", Architecture.ARM64, REGIONS, server.url)
    assert "--without us-gov-west-1 --without us-gov-east-1" in str(caught.value)
    server.missing |= set(NAMES.values())
    with pytest.raises(ReleaseError) as caught:
        preflight("v1.2.3", Architecture.ARM64, REGIONS, server.url)
    assert "--without" not in str(caught.value)


@pytest.mark.parametrize(
    ("without", "left_out"),
    [
        pytest.param(["eu-west-1"], ["eu-west-1"], id="named"),
        pytest.param(["missing"], ["us-gov-west-1"], id="missing"),
        pytest.param(["missing,eu-west-1"], ["eu-west-1", "us-gov-west-1"], id="both"),
    ],
)
def test_fr_018_release_without_regions(
    server: Server, without: list[str], left_out: list[str]
) -> None:
    """FR-018: regions left out are not requested, or were missing; the release lists which."""
    server.missing = {NAMES["us-gov-west-1"]} if "missing" in without[0] else {NAMES["eu-west-1"]}
    with find_release(
        "v1.2.3",
        Architecture.ARM64,
        REGIONS,
        without=without,
        base_url=server.url,
        policy=StandInPolicy.NEVER,
    ) as release:
        assert [region.name for region in release.left_out] == left_out
        assert {*release.regions, *release.left_out} == set(REGIONS)
    if "eu-west-1" in without[0]:
        assert server.asked[NAMES["eu-west-1"]] == 0


def test_fr_018_nothing_is_left_of_a_release_without_any_region(server: Server) -> None:
    """FR-018: omitting missing regions never omits all of them."""
    server.missing = set(NAMES.values())
    with pytest.raises(ReleaseError, match=f"{len(REGIONS)} of {len(REGIONS)}"):
        preflight("v1.2.3", Architecture.ARM64, REGIONS, server.url, lenient=True)


def test_unknown_version_is_an_answer_and_no_stand_in_replaces_it(server: Server) -> None:
    """If the server reports no such release, no stand-in replaces it, even if allowed."""
    server.missing = {"checksums.txt"}
    with (
        pytest.raises(ReleaseError, match=r"has no checksums\.txt"),
        find_release(
            "v1.2.3",
            Architecture.ARM64,
            REGIONS,
            base_url=server.url,
            policy=StandInPolicy.AUTO,
        ),
    ):
        pass
    assert server.asked["checksums.txt"] == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_what_can_pass_is_tried_again(server: Server, status: int) -> None:
    """After two transient errors the release is found."""
    name = NAMES["sa-east-1"]
    server.failures = {name: [status, status]}
    assert preflight("v1.2.3", Architecture.ARM64, REGIONS, server.url)
    assert server.asked[name] == 3


def test_attempts_are_bounded(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that keeps failing ends in an error."""
    monkeypatch.setattr("harness.build.assets.ATTEMPTS", 2)
    server.failures = {"checksums.txt": [500] * 10}
    with pytest.raises(ReleaseError, match="HTTP 500"):
        preflight("v1.2.3", Architecture.ARM64, REGIONS, server.url)
    assert server.asked["checksums.txt"] == 2


def test_unreachable_server_without_stand_ins_is_an_error() -> None:
    """If the server is unreachable and stand-ins are forbidden, the message names the host."""
    with (
        pytest.raises(ReleaseError, match=r"127\.0\.0\.1:1 is unreachable"),
        find_release(
            "v1.2.3",
            Architecture.ARM64,
            REGIONS,
            base_url="http://127.0.0.1:1",
            policy=StandInPolicy.NEVER,
        ),
    ):
        pass


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(f"{'A' * 64}  x.tar.gz\n", {"x.tar.gz": "a" * 64}, id="text-mode"),
        pytest.param(f"{'a' * 64} *x.tar.gz\n", {"x.tar.gz": "a" * 64}, id="binary-mode"),
        pytest.param(f"{'a' * 63}  x.tar.gz\n", {}, id="too-short"),
        pytest.param("<html>not found</html>", {}, id="html"),
        pytest.param(
            f"{'a' * 64}  x\r\n{'b' * 64}  x\n", {"x": "a" * 64}, id="crlf-and-first-wins"
        ),
    ],
)
def test_checksums_are_read(text: str, expected: dict[str, str]) -> None:
    """Lines of sha256sum(1) are parsed; anything else is ignored."""
    assert parse_checksums(text) == expected


@pytest.mark.parametrize("version", ["0.1.5", "v", "latest", "v1/../x", "v1 2", "v1;x"])
def test_fr_002_what_cannot_be_a_version_is_refused(version: str) -> None:
    """FR-002: a version that is no release tag is refused before anything is asked."""
    with pytest.raises(UsageError, match="Use one like"):
        check_version(version)


@pytest.mark.parametrize("version", ["v0.1.5", "v1.0.0-rc.1"])
def test_fr_002_version_is_accepted(version: str) -> None:
    """FR-002: releases and prereleases are accepted."""
    assert check_version(version) == version
