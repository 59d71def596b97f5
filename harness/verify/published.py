"""Inspect an image that cannot be run here, through the engine's export of its files."""

import io
import tarfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from harness.core.regions import BINARY_PREFIX
from harness.engine.container import Options, created
from harness.verify.target import Target

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

HEADER_BYTES = 20
_OTHERS_EXECUTE = 0o001


class _Stream(io.RawIOBase):
    """The chunks that the engine sends, as a file that can be read once."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        view = memoryview(buffer).cast("B")
        while not self._rest and (chunk := next(self._chunks, None)) is not None:
            self._rest = chunk
        taken, self._rest = self._rest[: len(view)], self._rest[len(view) :]
        view[: len(taken)] = taken
        return len(taken)


def binaries(target: Target) -> dict[str, tuple[int, bool, bytes]]:
    """Per region: its binary's size, whether any user may execute it, and its first bytes."""
    found = {}
    with created(target.client, target.reference, target.names, Options()) as container:
        # docker-py returns an iterator of bytes, contrary to its stubs.
        chunks = cast("Iterator[bytes]", container.container.export())
        with tarfile.open(fileobj=io.BufferedReader(_Stream(chunks)), mode="r|") as tar:
            for member in tar:
                name = member.name.rpartition("/")[2]
                region = name.removeprefix(BINARY_PREFIX)
                if region != name and region in target.names and member.isreg():
                    file = tar.extractfile(member)
                    header = file.read(HEADER_BYTES) if file else b""
                    found[region] = (member.size, bool(member.mode & _OTHERS_EXECUTE), header)
    return found
