"""Read and write blobs, manifests and tags of one repository.

https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md. Everything read is hashed
and compared with the requested digest.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from harness.core.decode import member
from harness.core.errors import RegistryError
from harness.core.untrusted import MALFORMED
from harness.oci.descriptor import Descriptor, MediaType, sha256
from harness.registry.reference import check_tag
from harness.registry.transport import MayPassError, Transport, bare, join
from harness.registry.upload import Upload

_OK = requests.codes
# Docker's types too: without them ghcr.io answers 404 for a tag that `docker push` made.
_MANIFESTS = {
    "Accept": ", ".join(
        (
            MediaType.INDEX,
            MediaType.MANIFEST,
            "application/vnd.docker.distribution.manifest.list.v2+json",
            "application/vnd.docker.distribution.manifest.v2+json",
        )
    )
}
_DIGEST_HEADER = "Docker-Content-Digest"
_NEXT = re.compile(r'<(?P<url>[^>]+)>\s*;\s*rel="?next"?')
_READ = 1 << 20
_PAGES = 1000


class MovedError(RegistryError):
    """A tag that was just set names something else: another client set it too."""


class RegistryClient:
    """One repository. Methods raise `RegistryError` if the registry refuses or returns bad data."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.repository = transport.repository

    def __enter__(self) -> "RegistryClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.transport.close()

    def has_blob(self, descriptor: Descriptor) -> bool:
        """Return whether the registry reports the blob, with that digest and size."""
        answer = self.transport.request(
            "HEAD", self._blob(descriptor), expect={_OK.ok, _OK.not_found}
        )
        if answer.status_code == _OK.not_found:
            return False
        self._compare_headers(answer, descriptor.digest)
        size = answer.headers.get("Content-Length", str(descriptor.size))
        if size != str(descriptor.size):
            raise RegistryError(
                f"the registry reports {size} bytes for {descriptor.digest}, expected"
                f" {descriptor.size}: delete the corrupt blob there and push again"
            )
        return True

    def push_blob(
        self,
        descriptor: Descriptor,
        path: Path,
        *,
        on_bytes: Callable[[int], object] = int,
    ) -> bool:
        """Upload the file at `path` unless the registry has it; return whether it was sent."""
        if self.has_blob(descriptor):
            return False
        upload = Upload(self.transport, descriptor, path, on_bytes=on_bytes)
        upload.run(lambda: self.has_blob(descriptor))
        return True

    def check_blob(
        self, descriptor: Descriptor, *, on_bytes: Callable[[int], object] = int
    ) -> None:
        """Read a blob that was just pushed and compare its digest.

        "Not found" is retried: the registry may lag behind a write that it has acknowledged.
        """
        for attempt in self.transport.settling():
            with attempt:
                self._check_blob(descriptor, on_bytes)

    def _check_blob(self, descriptor: Descriptor, on_bytes: Callable[[int], object]) -> None:
        answer = self.transport.once(
            "GET", self._blob(descriptor), expect={_OK.ok, _OK.not_found}, stream=True
        )
        if answer.status_code == _OK.not_found:
            answer.close()
            raise MayPassError(f"{self.repository.at(descriptor.digest)} is not there: HTTP 404")
        self._compare_headers(answer, descriptor.digest)
        found, size = hashlib.sha256(), 0
        with answer, _broken_off(answer.url):
            for chunk in answer.iter_content(_READ):
                found.update(chunk)
                size += len(chunk)
                on_bytes(len(chunk))
                if size > descriptor.size:
                    break  # wrong content, possibly endless
        if size < descriptor.size:
            on_bytes(-size)
            raise MayPassError(f"{descriptor.digest} ended after {size} of {descriptor.size} bytes")
        self._compare(f"sha256:{found.hexdigest()}", descriptor.digest)

    def push_manifest(self, data: bytes, media_type: str, reference: str = "") -> requests.Response:
        """Push a manifest or index as `reference`: a tag, or by default its digest."""
        digest = sha256(data)
        target = reference or digest
        answer = self.transport.request(
            "PUT",
            self._manifest(target),
            expect={_OK.created},
            headers={"Content-Type": media_type},
            body=lambda: data,
        )
        self._compare_headers(answer, digest)
        return answer

    def manifest(self, reference: str) -> bytes | None:
        """Return the manifest or index with a digest or tag, verified; None if there is none."""
        answer = self.transport.request(
            "GET", self._manifest(reference), expect={_OK.ok, _OK.not_found}, headers=_MANIFESTS
        )
        if answer.status_code == _OK.not_found:
            return None
        data = answer.content
        found = sha256(data)
        if ":" in reference:
            self._compare(found, reference)
        self._compare_headers(answer, found)
        return data

    def settle(self, reference: str, digest: str, *, before: str | None = None) -> bytes:
        """Read `reference` until it is `digest`, which was just pushed; return the content.

        A registry may lag behind a write that it has acknowledged, and still answer "not found" or
        with the tag's digest `before`. Raises `RegistryError` after the policy's reads, and
        immediately if the reference is something else.
        """
        for attempt in self.transport.settling():
            with attempt:
                data = self.manifest(reference)
                found = None if data is None else sha256(data)
                if data is not None and found == digest:
                    return data
                text = (
                    f"{self.repository.at(reference)} was set to {digest} but is"
                    f" {found or 'not there'}: another client moved it, or the registry is faulty"
                )
                raise MayPassError(text) if found in {None, before} else MovedError(text)
        raise AssertionError("settling() returns or raises")

    def tag_digest(self, tag: str) -> str | None:
        """Return the digest that `tag` points to; None if the tag does not exist."""
        data = self.manifest(check_tag(tag))
        return None if data is None else sha256(data)

    def listed_digest(self, tag: str) -> str:
        """Return the digest that `tag` points to, which the registry lists.

        A registry may list a tag that was just set before it returns its manifest. Raises
        `RegistryError` if there is still none after the policy's reads.
        """
        for attempt in self.transport.settling():
            with attempt:
                if digest := self.tag_digest(tag):
                    return digest
                raise MayPassError(
                    f"{self.repository.at(tag)} is listed but has no manifest: run it again, or"
                    " delete the tag if nothing was published under it"
                )
        raise AssertionError("settling() returns or raises")

    def tags(self) -> tuple[str, ...]:
        """Return all tags; none if the repository does not exist yet."""
        found: list[str] = []
        url = f"{self.repository.url}/tags/list?n=1000"
        for _ in range(_PAGES):
            answer = self.transport.request("GET", url, expect={_OK.ok, _OK.not_found})
            if answer.status_code == _OK.not_found:
                return ()
            found += _tags_in(answer)
            following = _NEXT.search(answer.headers.get("Link", ""))
            if following is None:
                break
            url = join(answer.url, following["url"])
            if not url.startswith(f"{self.repository.scheme}://{self.repository.host}/"):
                raise RegistryError(
                    f"the registry continues its list of tags on another host: {bare(url)}"
                )
        return tuple(found)

    def _blob(self, descriptor: Descriptor) -> str:
        return f"{self.repository.url}/blobs/{descriptor.digest}"

    def _manifest(self, reference: str) -> str:
        return f"{self.repository.url}/manifests/{reference}"

    def _compare_headers(self, answer: requests.Response, digest: str) -> None:
        # The header is optional, but must be correct if present.
        self._compare(answer.headers.get(_DIGEST_HEADER, digest), digest)

    def _compare(self, found: str, expected: str) -> None:
        if found != expected:
            raise RegistryError(
                f"{self.repository} returned {found[:71]} instead of {expected}:"
                " the content is not what was pushed"
            )


def _tags_in(answer: requests.Response) -> list[str]:
    try:
        return list(member(answer.json(), tuple[str, ...] | None, "tags") or ())
    except MALFORMED:
        raise RegistryError(f"GET {bare(answer.url)}: not a list of tags") from None


@contextmanager
def _broken_off(url: str) -> Iterator[None]:
    """Make a broken connection while reading a body a transient error."""
    try:
        yield
    except requests.RequestException:
        raise MayPassError(f"GET {bare(url)}: the connection broke") from None
