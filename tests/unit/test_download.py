"""image/build/download.sh on the host, against a misbehaving release server."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.core.regions import IMAGE_DIRECTORY, load_regions
from harness.core.stages import Architecture, asset_name

SCRIPT = IMAGE_DIRECTORY / "build" / "download.sh"
REGIONS = load_regions()
NAMES = {r.name: asset_name(r, "v1.2.3", Architecture.AMD64) for r in REGIONS}
ELF = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + b"\x02\0\x3e\0" + bytes(44)
TWO = ("us-gov-west-1", "eu-west-1")

pytestmark = pytest.mark.skipif(
    not (shutil.which("bash") and shutil.which("busybox")),
    reason="bash or busybox, whose wget the image has, is not installed",
)


def tarball(member: str, data: bytes = ELF, link: str = "") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        entry = tarfile.TarInfo(member)
        entry.size, entry.mode = len(data), 0o755
        if link:
            entry.type, entry.linkname, entry.size = tarfile.SYMTYPE, link, 0
        tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


class Release:
    """An in-memory release and its server."""

    def __init__(self) -> None:
        self.files = {NAMES[r.name]: tarball(r.binary) for r in REGIONS}
        self.unlisted: set[str] = set()
        self.lies: set[str] = set()
        self.failures: dict[str, list[int]] = {}
        self.asked: Counter[str] = Counter()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rpartition("/")[2]
                outer.asked[name] += 1
                outer.answer(self, name)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, handler: BaseHTTPRequestHandler, name: str) -> None:
        planned = self.failures.get(name)
        if planned:
            status = planned.pop(0)
            if status == 0:  # the connection breaks
                handler.close_connection = True
                return
            handler.send_error(status)
            return
        body = self.checksums() if name == "checksums.txt" else self.files.get(name)
        if body is None:
            handler.send_error(404)
            return
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def checksums(self) -> bytes:
        lines = []
        for region, name in NAMES.items():
            digest = hashlib.sha256(self.files.get(name, b"")).hexdigest()
            if region in self.lies:
                digest = "0" * 64
            if region not in self.unlisted:
                lines.append(f"{digest}  {name}\n")
        return "".join(lines).encode()


@pytest.fixture
def release() -> Iterator[Release]:
    """A complete release, to be broken by tests."""
    made = Release()
    yield made
    made.server.shutdown()
    made.server.server_close()


def download(release: Release, output: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    temporary = output.parent / "tmp"
    temporary.mkdir(exist_ok=True)
    commands = output.parent / "commands"
    commands.mkdir(exist_ok=True)
    if not (commands / "wget").exists():
        (commands / "wget").symlink_to(str(shutil.which("busybox")))
    return subprocess.run(
        ["bash", str(SCRIPT), str(IMAGE_DIRECTORY / "regions"), str(output)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={
            **os.environ,
            "PATH": f"{commands}:{os.environ['PATH']}",
            "TMPDIR": str(temporary),
            "VERSION": "v1.2.3",
            "TARGETARCH": "amd64",
            "RELEASE_BASE_URL": f"http://127.0.0.1:{release.server.server_port}",
            "DOWNLOAD_ATTEMPTS": "2",
            **environ,
        },
    )


def named(done: subprocess.CompletedProcess[str]) -> set[str]:
    prefixes = {line.split(": ")[1] for line in done.stderr.splitlines() if ": " in line}
    return prefixes & set(NAMES)


def test_fr_003_every_region_becomes_a_layer(release: Release, tmp_path: Path) -> None:
    """FR-003 (one tarball per region): each layer has only the executable, mode and time fixed."""
    done = download(release, tmp_path / "layers")
    assert done.returncode == 0, done.stderr
    for region in REGIONS:
        path = tmp_path / "layers" / region.name / "opt/finfocus/bin" / region.binary
        assert path.read_bytes() == ELF
        assert (path.stat().st_mode & 0o777, int(path.stat().st_mtime) % 86400) == (0o755, 0)
    assert list((tmp_path / "tmp").iterdir()) == []
    # One line for each tarball: the harness counts them.
    assert sorted(done.stdout.splitlines()) == sorted(
        f"downloaded {name}" for name in release.files if name.endswith(".tar.gz")
    )


def test_release_that_was_replaced_after_the_check_is_refused(
    release: Release, tmp_path: Path
) -> None:
    """CHECKSUMS_SHA256 is of what was checked: other assets, though consistent, do not get in."""
    checked = hashlib.sha256(release.checksums()).hexdigest()
    done = download(release, tmp_path / "same", CHECKSUMS_SHA256=checked)
    assert done.returncode == 0, done.stderr
    for region in REGIONS:
        release.files[NAMES[region.name]] = tarball(region.binary, ELF + b"replaced")
    done = download(release, tmp_path / "layers", CHECKSUMS_SHA256=checked)
    assert done.returncode != 0
    assert f"expected {checked}: the release was replaced" in done.stderr
    assert not list((tmp_path / "layers").rglob("finfocus-plugin-*"))
    assert list((tmp_path / "tmp").iterdir()) == []


def remove(release: Release) -> None:
    for region in TWO:
        del release.files[NAMES[region]]


def unlist(release: Release) -> None:
    release.unlisted = set(TWO)


def lie(release: Release) -> None:
    release.lies = set(TWO)


def truncate(release: Release) -> None:
    for region in TWO:
        release.files[NAMES[region]] = release.files[NAMES[region]][:40]


def contents(member: str, data: bytes = ELF, link: str = "") -> object:
    def change(release: Release) -> None:
        for region in TWO:
            name = member.replace("@", f"finfocus-plugin-aws-public-{region}")
            release.files[NAMES[region]] = tarball(name, data, link)

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(remove, "404", id="FR-018-missing-tarball"),
        pytest.param(unlist, "is not in checksums.txt", id="FR-018-missing-checksum"),
        pytest.param(lie, "does not match its checksum", id="FR-018-wrong-checksum"),
        pytest.param(truncate, "damaged", id="FR-018-truncated"),
        pytest.param(contents("README"), "has no finfocus", id="FR-018-no-binary"),
        pytest.param(contents("../@"), "leaves its directory", id="FR-018-path-up"),
        pytest.param(contents("/@"), "leaves its directory", id="FR-018-absolute-path"),
        pytest.param(contents("@", b"#!/bin/sh\n"), "not an ELF", id="FR-018-script"),
        pytest.param(contents("@", link="/bin/sh"), "not an ELF", id="FR-018-symlink"),
        pytest.param(
            contents("@", ELF.replace(b"\x3e\0", b"\xb7\0")),
            "another architecture",
            id="FR-018-other-architecture",
        ),
        pytest.param(contents("@", ELF[:4] + b"\x01" + ELF[5:]), "64-bit", id="FR-018-32-bit"),
    ],
)
def test_bad_tarballs_fail_the_build_naming_every_region(
    release: Release, tmp_path: Path, change: object, words: str
) -> None:
    """Both affected regions are named with the reason, no others, and nothing is left."""
    assert callable(change)
    change(release)
    done = download(release, tmp_path / "layers")
    assert done.returncode == 1
    assert named(done) == set(TWO), done.stderr
    assert words in done.stderr
    assert f"2 of {len(REGIONS)} regions" in done.stderr
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_definite_no_is_not_asked_again(release: Release, tmp_path: Path) -> None:
    """A missing tarball is requested once."""
    remove(release)
    download(release, tmp_path / "layers")
    assert release.asked[NAMES[TWO[0]]] == 1


@pytest.mark.parametrize("status", [429, 500, 503, 0], ids=["429", "500", "503", "reset"])
def test_what_can_pass_is_asked_again(release: Release, tmp_path: Path, status: int) -> None:
    """One transient failure does not fail the build."""
    release.failures = {NAMES["sa-east-1"]: [status]}
    done = download(release, tmp_path / "layers")
    assert done.returncode == 0, done.stderr
    assert release.asked[NAMES["sa-east-1"]] >= 2


def test_attempts_are_bounded(release: Release, tmp_path: Path) -> None:
    """A server that keeps failing fails the build after the given number of attempts."""
    release.failures = {NAMES["sa-east-1"]: [503] * 10}
    done = download(release, tmp_path / "layers")
    assert done.returncode == 1
    assert named(done) == {"sa-east-1"}
    assert release.asked[NAMES["sa-east-1"]] == 2


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        pytest.param({"VERSION": ""}, "VERSION is missing", id="FR-002-no-version"),
        pytest.param({"TARGETARCH": "s390x"}, "has no release", id="unknown-architecture"),
        pytest.param({"VERSION": "v9"}, "is not in checksums.txt", id="other-version"),
    ],
)
def test_bad_arguments_are_one_clear_error(
    release: Release, tmp_path: Path, environ: dict[str, str], words: str
) -> None:
    """The build fails with a message that names the bad argument."""
    done = download(release, tmp_path / "layers", **environ)
    assert done.returncode == 1
    assert words in done.stderr


def test_fr_018_regions_left_out_are_neither_asked_for_nor_in_the_table(
    release: Release, tmp_path: Path
) -> None:
    """FR-018 (missing tarball fails the build): WITHOUT leaves a note, and no row in the table."""
    remove(release)
    layers = tmp_path / "layers"
    done = download(release, layers, WITHOUT=", ".join(TWO))
    assert done.returncode == 0, done.stderr
    for region in REGIONS:
        files = [path.name for path in (layers / region.name).rglob("*") if path.is_file()]
        assert files == ([region.name] if region.name in TWO else [region.binary])
    assert release.asked.keys() & {NAMES[name] for name in TWO} == set()
    lines = (IMAGE_DIRECTORY / "regions").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if line.split()[0] not in TWO]
    assert (layers / "regions").read_text(encoding="utf-8").splitlines() == kept


def test_table_of_the_image_is_that_of_the_checkout(release: Release, tmp_path: Path) -> None:
    """Without WITHOUT the table is unchanged, byte for byte."""
    download(release, tmp_path / "layers")
    table = (tmp_path / "layers" / "regions").read_bytes()
    assert table == (IMAGE_DIRECTORY / "regions").read_bytes()


def test_fr_018_missing_regions_come_with_the_argument_that_leaves_them_out(
    release: Release, tmp_path: Path
) -> None:
    """FR-018: WITHOUT is suggested only if assets are missing, not if one is damaged."""
    remove(release)
    done = download(release, tmp_path / "layers", WITHOUT="sa-east-1")
    assert '--build-arg WITHOUT="sa-east-1 eu-west-1 us-gov-west-1"' in done.stderr
    release.files[NAMES["us-east-1"]] = b"damaged"
    assert "WITHOUT" not in download(release, tmp_path / "layers").stderr


@pytest.mark.parametrize(
    ("without", "words"),
    [
        pytest.param("us-east-1 mars", "unknown region, mars: use us-east-1 ", id="one"),
        pytest.param(",".join(NAMES), "WITHOUT leaves out every region", id="all"),
    ],
)
def test_fr_018_what_cannot_be_left_out_fails_with_one_sentence(
    release: Release, tmp_path: Path, without: str, words: str
) -> None:
    """FR-018: an unknown region, or all regions, is rejected before any download."""
    done = download(release, tmp_path / "layers", WITHOUT=without)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert words in done.stderr
    assert not release.asked
