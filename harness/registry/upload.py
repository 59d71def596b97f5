"""Upload a blob, resuming where it stopped if the connection breaks.

https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#pushing-blobs: POST opens
an upload, one PATCH sends the bytes, PUT closes it with the digest. After a broken connection, GET
returns the offset; if the registry has dropped the upload, the blob is sent from the start.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import IO, Protocol
from urllib.parse import urlsplit

import requests

from harness.core.errors import RegistryError
from harness.oci.descriptor import Descriptor
from harness.registry.reference import is_loopback
from harness.registry.transport import MayPassError, Transport, bare, join

_OK = requests.codes
_RANGE = re.compile(r"(?:bytes=)?0-(?P<last>[0-9]{1,18})")
_BINARY = {"Content-Type": "application/octet-stream"}


class UploadNotes(Protocol):
    """Remembers unfinished uploads, so that another run can resume them."""

    def location(self, digest: str) -> str:
        """Return the URL to resume the upload of `digest`; "" if there is none."""

    def note(self, digest: str, location: str) -> None:
        """Remember the URL to resume the upload of `digest`; "" to forget it."""


class Upload:
    """The upload of one blob from a file."""

    def __init__(
        self,
        transport: Transport,
        descriptor: Descriptor,
        path: Path,
        *,
        on_bytes: Callable[[int], object] = int,
        notes: UploadNotes | None = None,
    ) -> None:
        self._transport = transport
        self._descriptor = descriptor
        self._path = path
        self._on_bytes = on_bytes
        self._notes = notes
        noted = notes.location(descriptor.digest) if notes else ""
        # A local registry may have restarted on another port.
        same_port = urlsplit(noted).netloc == urlsplit(transport.repository.url).netloc
        self._location = noted if same_port and self._is_ours(noted) else ""
        self._sent = 0

    def run(self, already_there: Callable[[], bool]) -> None:
        """Upload it; `already_there` is called before each retry.

        Raises `RegistryError` if the registry does not accept it.
        """
        for attempt in self._transport.retrying():
            with attempt:
                if attempt.retry_state.attempt_number > 1 and already_there():
                    break
                self._attempt()
        self._go_on_at("")

    def _attempt(self) -> None:
        offset = self._ask() if self._location else 0
        if not self._location:
            self._open()
        self._progress(offset)
        if offset < self._descriptor.size:
            self._send(offset)
        self._close()

    def _open(self) -> None:
        url = f"{self._transport.repository.url}/blobs/uploads/"
        self._follow(self._transport.once("POST", url, expect={_OK.accepted}))

    def _ask(self) -> int:
        """Return the number of bytes that the registry has; forget an unusable upload."""
        answer = self._transport.once(
            "GET", self._location, expect={_OK.no_content, _OK.not_found, _OK.bad_request}
        )
        match = _RANGE.fullmatch(answer.headers.get("Range", ""))
        offset = int(match["last"]) + 1 if match else 0
        # "0-0" can mean one byte or none.
        usable = answer.status_code == _OK.no_content and 1 < offset <= self._descriptor.size
        if not usable:
            self._go_on_at("")
            return 0
        if "Location" in answer.headers:
            self._follow(answer)
        return offset

    def _send(self, offset: int) -> None:
        size = self._descriptor.size
        headers = dict(_BINARY)
        if offset:
            headers["Content-Range"] = f"{offset}-{size - 1}"
        with self._path.open("rb") as file:
            answer = self._transport.once(
                "PATCH",
                self._location,
                expect={_OK.accepted, _OK.no_content, *_LOST},
                headers=headers,
                body=lambda: _Section(file, offset, size, self._sending(offset)),
            )
        if answer.status_code in _LOST:
            self._lost(answer)
        self._follow(answer)

    def _close(self) -> None:
        separator = "&" if urlsplit(self._location).query else "?"
        url = f"{self._location}{separator}digest={self._descriptor.digest}"
        answer = self._transport.once(
            "PUT",
            url,
            expect={_OK.created, _OK.no_content, _OK.bad_request, *_LOST},
            headers={**_BINARY, "Content-Length": "0"},
        )
        if answer.status_code in {_OK.bad_request, *_LOST}:
            self._lost(answer)

    def _lost(self, answer: requests.Response) -> None:
        """Restart the upload, a limited number of times: the registry does not have the bytes."""
        self._go_on_at("")
        raise MayPassError(
            f"the registry lost the upload of {self._descriptor.digest} (HTTP {answer.status_code})"
        )

    def _follow(self, answer: requests.Response) -> None:
        """Remember the upload's next URL; other hosts must not get our authorization."""
        location = join(answer.url, answer.headers.get("Location", ""))
        if not self._is_ours(location):
            raise RegistryError(
                f"the registry redirects the upload to another host, {bare(location)}: refused"
            )
        self._go_on_at(location)

    def _is_ours(self, location: str) -> bool:
        ours, theirs = urlsplit(self._transport.repository.url), urlsplit(location)
        same = theirs.netloc == ours.netloc and theirs.scheme == ours.scheme
        # A local registry may use another of its names.
        return same or (is_loopback(ours.netloc) and is_loopback(theirs.netloc))

    def _go_on_at(self, location: str) -> None:
        self._location = location
        if self._notes:
            self._notes.note(self._descriptor.digest, location)

    def _progress(self, offset: int) -> None:
        self._on_bytes(offset - self._sent)
        self._sent = offset

    def _sending(self, offset: int) -> Callable[[int], None]:
        """Return a progress callback for one body, counting from `offset`."""
        self._progress(offset)

        def count(number: int) -> None:
            self._progress(self._sent + number)

        return count


_LOST = {_OK.not_found, _OK.requested_range_not_satisfiable, _OK.gone}


class _Section:
    """A part of a file as a request body of known length (`Content-Length`)."""

    def __init__(
        self, file: IO[bytes], start: int, end: int, on_bytes: Callable[[int], object]
    ) -> None:
        self._file = file
        self._file.seek(start)
        self._left = end - start
        self._on_bytes = on_bytes

    def __len__(self) -> int:
        return self._left

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes of the section."""
        size = self._left if size < 0 else min(max(size, _LEAST), self._left)
        data = self._file.read(size)
        self._left -= len(data)
        self._on_bytes(len(data))
        return data


# The HTTP client reads 16 kB at a time; larger chunks send 2 GB faster.
_LEAST = 1 << 18
