"""A release of stand-in plugins, served from loopback."""

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from harness.console import step
from harness.engine import cache_directory
from harness.errors import EnvironmentMissingError
from harness.model import Architecture, asset_name
from harness.process import run
from harness.regions import REPOSITORY, Region

SOURCE = REPOSITORY / "tests" / "e2e" / "plugin"
REAL_BINARY_BYTES = 158_000_000
"""Size of a real regional binary; twelve of them and the base make the 2.0 GB of SC-001."""

# A stable port keeps the build's arguments, and with them its cache, the same from run to run.
_USUAL_PORT = 18765


@dataclass(frozen=True, kw_only=True)
class StandInPlugin:
    """How the stand-in binaries are made."""

    binary_bytes: int = 0  # padded to this size; 0 for as small as it comes


@contextmanager
def serve_release(
    plugin: StandInPlugin, version: str, architecture: Architecture, regions: Sequence[Region]
) -> Iterator[str]:
    """Base URL of a loopback server with a complete stand-in release, for the block's time.

    Raises `EnvironmentMissingError` when Go is missing.
    """
    root = make_release(plugin, version, architecture, regions)
    with serve_directory(root) as url:
        yield url


@contextmanager
def serve_directory(root: Path) -> Iterator[str]:
    """URL of a loopback server for the files under `root`, for the block's time."""
    handler = partial(_QuietHandler, directory=str(root))
    try:
        server = ThreadingHTTPServer(("127.0.0.1", _USUAL_PORT), handler)
    except OSError:
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _QuietHandler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base's name)
        """Say nothing: the build's output shows what was fetched."""


def make_release(
    plugin: StandInPlugin, version: str, architecture: Architecture, regions: Sequence[Region]
) -> Path:
    """Directory with `{version}/` full of tarballs and checksums.txt; made once per recipe."""
    program = build_plugin(version, architecture)
    recipe = hashlib.sha256(program.read_bytes())
    recipe.update(json.dumps([plugin.binary_bytes, version, architecture]).encode())
    recipe.update("".join(region.name for region in regions).encode())
    root = cache_directory() / "releases" / recipe.hexdigest()[:16]
    directory = root / version
    if (directory / "checksums.txt").exists():
        return root
    directory.mkdir(parents=True, exist_ok=True)
    with step(f"packing {len(regions)} stand-in tarballs"), ThreadPoolExecutor(2) as pool:
        paths = [directory / asset_name(region, version, architecture) for region in regions]
        pack = partial(_pack, program, plugin.binary_bytes)
        text = "".join(pool.map(pack, regions, paths))
    partial_file = directory / f"checksums.txt.{os.getpid()}"
    partial_file.write_text(text, encoding="utf-8")
    partial_file.replace(directory / "checksums.txt")
    return root


def build_plugin(version: str, architecture: Architecture) -> Path:
    """The stand-in plugin's executable, compiled once per source and architecture."""
    sources = sorted(p for p in SOURCE.rglob("*") if p.suffix in {".go", ".mod", ".sum"})
    recipe = hashlib.sha256(f"{version} {architecture}".encode())
    for path in sources:
        recipe.update(path.read_bytes())
    program = cache_directory() / "plugins" / recipe.hexdigest()[:16]
    if program.exists():
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    building = program.with_suffix(f".{os.getpid()}")
    flags = f"-s -w -X main.version={version.removeprefix('v')}"
    command = ["go", "build", "-trimpath", "-buildvcs=false", f"-ldflags={flags}"]
    with step("compiling the stand-in plugin"):
        try:
            run(
                [*command, "-o", str(building), "."],
                cwd=SOURCE,
                environ={"CGO_ENABLED": "0", "GOOS": "linux", "GOARCH": architecture.value},
            )
        except EnvironmentMissingError as error:
            raise EnvironmentMissingError(
                f"the stand-in plugin needs Go (https://go.dev/dl/): {error}"
            ) from error
        building.replace(program)
    return program


def _pack(program: Path, binary_bytes: int, region: Region, path: Path) -> str:
    """Write one region's tarball; return its line of checksums.txt."""
    partial_file = path.with_suffix(f".{os.getpid()}")
    binary = program.read_bytes() + f"\nstand-in for {region.name}\n".encode()
    entry = tarfile.TarInfo(region.binary)
    entry.size = max(len(binary), binary_bytes)
    entry.mode = 0o755
    try:
        with (
            partial_file.open("wb") as file,
            # No name and no time: the same inputs give the same bytes.
            gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w") as tar,
        ):
            tar.addfile(entry, _padded(binary, entry.size, region.name))
        partial_file.replace(path)
    finally:
        with suppress(FileNotFoundError):
            partial_file.unlink()
    with path.open("rb") as packed_file:
        return f"{hashlib.file_digest(packed_file, 'sha256').hexdigest()}  {path.name}\n"


def _padded(binary: bytes, size: int, seed: str) -> io.BufferedIOBase:
    """`binary` followed by bytes that no compressor makes smaller, `size` bytes in all."""
    missing = size - len(binary)
    noise = hashlib.shake_256(seed.encode()).digest(min(missing, 1 << 20)) if missing > 0 else b""
    repeats = -(-missing // len(noise)) if noise else 0
    return io.BytesIO(binary + (noise * repeats)[: max(missing, 0)])
