"""Upload a blob, from the start again if the connection breaks.

https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#pushing-blobs: POST opens
an upload, one PATCH sends the bytes, PUT closes it with the digest. A broken upload is not
continued: ghcr.io accepts no PATCH with a Content-Range over 4 MiB.
"""

from collections.abc import Callable
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import requests

from harness.core.errors import RegistryError
from harness.oci.descriptor import Descriptor
from harness.registry.reference import is_loopback
from harness.registry.transport import MayPassError, Transport, bare, join

_OK = requests.codes
_BINARY = {"Content-Type": "application/octet-stream"}


class Upload:
    """The upload of one blob from a file."""

    def __init__(
        self,
        transport: Transport,
        descriptor: Descriptor,
        path: Path,
        *,
        on_bytes: Callable[[int], object] = int,
    ) -> None:
        self._transport = transport
        self._descriptor = descriptor
        self._path = path
        self._on_bytes = on_bytes
        self._location = ""
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

    def _attempt(self) -> None:
        self._progress(-self._sent)
        self._open()
        if self._descriptor.size:
            self._send()
        self._close()

    def _open(self) -> None:
        url = f"{self._transport.repository.url}/blobs/uploads/"
        self._follow(self._transport.once("POST", url, expect={_OK.accepted}))

    def _send(self) -> None:
        with self._path.open("rb") as file:
            answer = self._transport.once(
                "PATCH",
                self._location,
                expect={_OK.accepted, _OK.no_content, *_LOST},
                headers=_BINARY,
                body=lambda: self._body(file),
            )
        if answer.status_code in _LOST:
            self._lost(answer)
        self._follow(answer)

    def _body(self, file: IO[bytes]) -> "_Body":
        self._progress(-self._sent)  # sent again after a renewed authorization
        return _Body(file, self._descriptor.size, self._progress)

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
        self._location = location

    def _is_ours(self, location: str) -> bool:
        ours, theirs = urlsplit(self._transport.repository.url), urlsplit(location)
        same = theirs.netloc == ours.netloc and theirs.scheme == ours.scheme
        # A local registry may use another of its names.
        return same or (is_loopback(ours.netloc) and is_loopback(theirs.netloc))

    def _progress(self, number: int) -> None:
        self._sent += number
        self._on_bytes(number)


_LOST = {_OK.not_found, _OK.requested_range_not_satisfiable, _OK.gone}


class _Body:
    """A file as a request body of known length (`Content-Length`)."""

    def __init__(self, file: IO[bytes], size: int, on_bytes: Callable[[int], object]) -> None:
        self._file = file
        self._file.seek(0)
        self._left = size
        self._on_bytes = on_bytes

    def __len__(self) -> int:
        return self._left

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        size = self._left if size < 0 else min(max(size, _LEAST), self._left)
        data = self._file.read(size)
        self._left -= len(data)
        self._on_bytes(len(data))
        return data


# The HTTP client reads 16 kB at a time; larger chunks send 2 GB faster.
_LEAST = 1 << 18
