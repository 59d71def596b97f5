"""A release of stand-in plugins, served from loopback."""

import gzip
import hashlib
import json
import os
import socket
import sys
import tarfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from harness.core.cache import cache_directory
from harness.core.console import step
from harness.core.go_tools import GoProgram
from harness.core.process import run
from harness.core.regions import Region
from harness.core.stages import Architecture, asset_name
from harness.stand_ins.serving import serving

SOURCE = Path(__file__).parent / "plugin"
REAL_BINARY_BYTES = 158_000_000
"""Size of a real regional binary; twelve of them and the base make the 2.0 GB of SC-001."""
SMALL_LIST_BYTES = 40_000
"""Size of all price lists of a region if not at full size."""

# A fixed port keeps the build's arguments the same, so its cache works across runs.
_USUAL_PORT = 18765


@dataclass(frozen=True, kw_only=True)
class StandInPlugin:
    """How to build the stand-in binaries."""

    full_size: bool = False  # price lists as large as the real ones; else a few kB


@contextmanager
def serve_release(
    plugin: StandInPlugin, version: str, architecture: Architecture, regions: Sequence[Region]
) -> Iterator[str]:
    """Base URL of a loopback server with a complete stand-in release, for the block.

    Raises `EnvironmentMissingError` if Go is missing.
    """
    root = make_release(plugin, version, architecture, regions)
    with serve_directory(root) as url:
        yield url


@contextmanager
def serve_directory(root: Path) -> Iterator[str]:
    """URL of a loopback server for the files under `root`, for the duration of the block."""
    handler = partial(_QuietHandler, directory=str(root))
    try:
        server = _QuietServer(("127.0.0.1", _USUAL_PORT), handler)
    except OSError:
        server = _QuietServer(("127.0.0.1", 0), handler)
    with serving(server):
        yield f"http://127.0.0.1:{server.server_port}"


class _QuietServer(ThreadingHTTPServer):
    def handle_error(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        """Ignore clients that disconnect, as an interrupted run does."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _QuietHandler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base's name)
        """Log nothing: the build's output shows what was downloaded."""


def make_release(
    plugin: StandInPlugin, version: str, architecture: Architecture, regions: Sequence[Region]
) -> Path:
    """Directory with the tarballs and checksums.txt in `{version}/`; made once per recipe."""
    program = build_plugin(version, architecture)
    attach = _build_pricelist()
    recipe = hashlib.sha256(program.read_bytes() + attach.read_bytes())
    recipe.update(json.dumps([plugin.full_size, version, architecture]).encode())
    recipe.update("".join(region.name for region in regions).encode())
    root = cache_directory() / "releases" / recipe.hexdigest()[:16]
    directory = root / version
    if (directory / "checksums.txt").exists():
        return root
    directory.mkdir(parents=True, exist_ok=True)
    with step(f"packing {len(regions)} stand-in tarballs"), ThreadPoolExecutor(2) as pool:
        paths = [directory / asset_name(region, version, architecture) for region in regions]
        pack = partial(_pack, attach, program, plugin)
        text = "".join(pool.map(pack, regions, paths))
    partial_file = directory / f"checksums.txt.{os.getpid()}"
    partial_file.write_text(text, encoding="utf-8")
    partial_file.replace(directory / "checksums.txt")
    return root


def build_plugin(version: str, architecture: Architecture) -> Path:
    """The stand-in plugin without price lists, compiled once per source and architecture."""
    return GoProgram(
        source=SOURCE,
        name="stand-in-plugin",
        ldflags=f"-s -w -X main.version={version.removeprefix('v')}",
        environ={"GOOS": "linux", "GOARCH": architecture.value},
    ).provide()


def _build_pricelist() -> Path:
    """The program that attaches price lists to an executable; it runs on this machine."""
    return GoProgram(source=SOURCE, name="pricelist", package="./cmd/pricelist").provide()


def _pack(attach: Path, program: Path, plugin: StandInPlugin, region: Region, path: Path) -> str:
    """Write one region's tarball; return its line of checksums.txt."""
    binary = path.with_suffix(f".binary.{os.getpid()}")
    partial_file = path.with_suffix(f".{os.getpid()}")
    try:
        _attach_lists(attach, program, plugin, region, binary)
        _write_tarball(binary, region, partial_file, level=6 if plugin.full_size else 1)
        partial_file.replace(path)
    finally:
        binary.unlink(missing_ok=True)
        partial_file.unlink(missing_ok=True)
    with path.open("rb") as packed_file:
        return f"{hashlib.file_digest(packed_file, 'sha256').hexdigest()}  {path.name}\n"


def _attach_lists(
    attach: Path, program: Path, plugin: StandInPlugin, region: Region, output: Path
) -> None:
    """Write the region's executable: `program` with price lists appended."""
    small = SMALL_LIST_BYTES
    size = REAL_BINARY_BYTES - program.stat().st_size if plugin.full_size else small
    options = {
        "program": program,
        "region": region.name,
        "bytes": max(size, small),
        "output": output,
    }
    run([str(attach), *(f"--{name}={value}" for name, value in options.items())])


def _write_tarball(binary: Path, region: Region, path: Path, *, level: int) -> None:
    """Pack one executable under its region's name; the same inputs give the same bytes."""
    entry = tarfile.TarInfo(region.binary)
    entry.size = binary.stat().st_size
    entry.mode = 0o755
    with (
        path.open("wb") as file,
        # No name and no time in the header.
        gzip.GzipFile("", "wb", compresslevel=level, fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
        binary.open("rb") as content,
    ):
        tar.addfile(entry, content)
