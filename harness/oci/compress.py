"""Reproducible gzip on all cores.

The data is split into pieces that are deflated independently, as in pigz(1), and joined into one
gzip member (RFC 1952) without name or time. The result does not depend on the number of threads.
"""

import hashlib
import os
import struct
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, Protocol

PIECE = 4 << 20
LEVEL = 4
"""Twice as fast as zlib's default of 6, for 2 % more bytes on a Go binary."""

# RFC 1952, 2.3: magic, deflate, no flags, no time, no extra flags, unknown system.
_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


class Readable(Protocol):
    """Anything with `read`."""

    def read(self, size: int = -1, /) -> bytes:
        """Read at most `size` bytes; none at the end."""


@dataclass(frozen=True, kw_only=True)
class Compressed:
    """Digests and sizes before and after compression."""

    plain_digest: str
    plain_size: int
    digest: str
    size: int
    first_piece: bytes  # of the plain data


def compress(
    source: Readable, target: IO[bytes], on_bytes: Callable[[int], object] = int
) -> Compressed:
    """Compress `source` to `target`; `on_bytes` gets the number of plain bytes read."""
    plain, packed = hashlib.sha256(), hashlib.sha256()
    plain_size = size = crc = 0
    first = b""

    def write(data: bytes) -> None:
        nonlocal size
        packed.update(data)
        target.write(data)
        size += len(data)

    def pieces() -> Iterator[bytes]:
        nonlocal plain_size, crc, first
        while piece := _read(source, PIECE):
            first = first or piece
            plain.update(piece)
            crc = zlib.crc32(piece, crc)
            plain_size += len(piece)
            on_bytes(len(piece))
            yield piece

    write(_HEADER)
    for data in _deflated(pieces()):
        write(data)
    # An empty last block, then checksum and length modulo 2^32 (RFC 1952, 2.3.1).
    write(b"\x03\x00" + struct.pack("<II", crc, plain_size & 0xFFFFFFFF))
    return Compressed(
        plain_digest=f"sha256:{plain.hexdigest()}",
        plain_size=plain_size,
        digest=f"sha256:{packed.hexdigest()}",
        size=size,
        first_piece=first,
    )


def _deflated(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield each piece deflated, in order, with only a few in memory at once."""
    threads = os.cpu_count() or 1
    waiting: deque[Future[bytes]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for piece in pieces:
            waiting.append(pool.submit(_deflate, piece))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _deflate(piece: bytes) -> bytes:
    """Return raw deflate blocks, byte-aligned and independent of the previous piece."""
    deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return deflate.compress(piece) + deflate.flush(zlib.Z_FULL_FLUSH)


def _read(source: Readable, size: int) -> bytes:
    """Read exactly `size` bytes, or what is left."""
    parts = []
    while size > 0 and (part := source.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
