"""A release of stand-in plugins: correct files and sizes, reproducibly."""

from __future__ import annotations

import hashlib
import shutil
import socket
import struct
import tarfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from harness.core.errors import CommandError
from harness.core.regions import Region, load_regions
from harness.core.stages import Architecture, asset_name
from harness.stand_ins import release
from harness.stand_ins.release import StandInPlugin, make_release, serve_directory

VERSION = "v0.1.5"
REGIONS = load_regions()[:3]
PROGRAM = b"\x7fELF a program"
FULL_SIZE = 2_000_000

pytestmark = pytest.mark.skipif(not shutil.which("go"), reason="go is not installed")


@pytest.fixture(scope="module")
def pricelist() -> Path:
    """The program that attaches price lists."""
    return release._build_pricelist()


@pytest.fixture
def cache(tmp_path: Path, pricelist: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, a small program as the plugin, and a small full size."""
    program = tmp_path / "program"
    program.write_bytes(PROGRAM)
    monkeypatch.setattr(release, "build_plugin", lambda *_: program)
    monkeypatch.setattr(release, "_build_pricelist", lambda: pricelist)
    monkeypatch.setattr(release, "REAL_BINARY_BYTES", FULL_SIZE)
    return _use_cache(tmp_path / "cache", monkeypatch)


def _use_cache(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory.mkdir()
    monkeypatch.setattr(release, "cache_directory", lambda: directory)
    return directory


def _make(*, full_size: bool = False, regions: Sequence[Region] = REGIONS) -> Path:
    plugin = StandInPlugin(full_size=full_size)
    return make_release(plugin, VERSION, Architecture.AMD64, regions) / VERSION


def _binary(directory: Path, region: Region) -> bytes:
    with tarfile.open(directory / asset_name(region, VERSION, Architecture.AMD64)) as tar:
        (entry,) = tar.getmembers()
        assert (entry.name, entry.mode, entry.mtime) == (region.binary, 0o755, 0)
        content = tar.extractfile(entry)
        assert content is not None
        return content.read()


def test_fr_003_a_release_has_a_tarball_per_region_and_their_checksums(cache: Path) -> None:
    """FR-003 (one tarball per region): checksums.txt lists all of them and nothing else."""
    directory = _make()
    names = [asset_name(region, VERSION, Architecture.AMD64) for region in REGIONS]
    assert sorted(p.name for p in directory.iterdir()) == sorted([*names, "checksums.txt"])
    lines = (directory / "checksums.txt").read_text().splitlines()
    digests = [hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in names]
    assert lines == [f"{digest}  {name}" for digest, name in zip(digests, names, strict=True)]


def test_each_binary_is_the_program_with_its_own_region_s_lists(cache: Path) -> None:
    """Every binary starts with the program; the lists after it differ by region and are small."""
    directory = _make()
    binaries = [_binary(directory, region) for region in REGIONS]
    assert all(binary.startswith(PROGRAM) for binary in binaries)
    assert len(set(binaries)) == len(REGIONS)
    for binary, region in zip(binaries, REGIONS, strict=True):
        assert f"AmazonEC2_{region.name}.json".encode() in binary
        assert len(binary) < 100_000


def test_sc_001_full_size_is_the_real_size_and_compresses_as_the_real_one(cache: Path) -> None:
    """SC-001 (image size): a binary is within 2 % of the real one; its tarball is a tenth."""
    directory = _make(full_size=True)
    for region in REGIONS:
        size = len(_binary(directory, region))
        assert FULL_SIZE <= size <= FULL_SIZE * 1.02
        packed = (directory / asset_name(region, VERSION, Architecture.AMD64)).stat().st_size
        assert size / 16 < packed < size / 8


def test_the_same_inputs_give_the_same_bytes(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A release built in another cache is identical, byte for byte."""
    first = _make()
    _use_cache(cache.with_name("other"), monkeypatch)
    second = _make()
    assert first != second
    names = sorted(p.name for p in first.iterdir())
    assert names == sorted(p.name for p in second.iterdir())
    assert all((first / n).read_bytes() == (second / n).read_bytes() for n in names)
    no_time = bytes(4)  # both may be created within one second, the resolution of gzip's header
    assert all(p.read_bytes()[4:8] == no_time for p in first.glob("*.tar.gz"))


def test_a_release_is_made_once_per_recipe(cache: Path) -> None:
    """The same recipe is not built again; another size or fewer regions is another recipe."""
    first = _make()
    made = (first / "checksums.txt").stat().st_mtime_ns
    assert _make() == first
    assert (first / "checksums.txt").stat().st_mtime_ns == made
    assert _make(full_size=True) != first
    fewer = _make(regions=REGIONS[:1])
    assert fewer != first
    assert len(list(fewer.glob("*.tar.gz"))) == 1


def test_a_failed_release_is_made_again(
    cache: Path, pricelist: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release that failed halfway has no checksums.txt or partial files, and is retried."""
    monkeypatch.setattr(release, "_build_pricelist", lambda: Path(shutil.which("false") or ""))
    with pytest.raises(CommandError):
        _make()
    assert [p for p in cache.rglob("*") if p.is_file()] == []
    monkeypatch.setattr(release, "_build_pricelist", lambda: pricelist)
    assert (_make() / "checksums.txt").exists()


def test_a_client_that_goes_away_is_no_news(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupted download does not print a traceback of the server."""
    (tmp_path / "file").write_bytes(bytes(32 << 20))
    noticed = threading.Event()
    handle_error = release._QuietServer.handle_error

    def note(server: Any, *request: Any) -> None:
        handle_error(server, *request)
        noticed.set()

    monkeypatch.setattr(release._QuietServer, "handle_error", note)
    with serve_directory(tmp_path) as url:
        address = urlsplit(url)
        with socket.create_connection((str(address.hostname), int(address.port or 0))) as client:
            client.sendall(b"GET /file HTTP/1.0\r\n\r\n")
            assert client.recv(1)
            # A reset, not a close: the server's next write fails.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert noticed.wait(10)
    assert "Traceback" not in capfd.readouterr().err
