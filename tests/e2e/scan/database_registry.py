"""A local registry that serves one vulnerability database, and fails on request."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from harness.stand_ins.serving import serving

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DATABASE = "application/vnd.aquasec.trivy.db.layer.v1.tar+gzip"
CONFIG = "application/vnd.aquasec.trivy.config.v1+json"


class DatabaseRegistry:
    """Serves pulls of the OCI distribution spec for `{host}/trivy-db:2`."""

    def __init__(self) -> None:
        self.failures: list[int] = []  # status of the next responses
        self.lie = False  # the database's bytes do not match their digest
        self.asked: list[str] = []
        self.manifest = b""
        self.blobs: dict[str, bytes] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.asked.append(self.path)
                if outer.failures:
                    return self._send(outer.failures.pop(0), b"", "text/plain")
                kind, _, name = self.path.rpartition("/")
                if self.path == "/v2/":
                    return self._send(200, b"{}", "application/json")
                if kind == "/v2/trivy-db/manifests" and outer.manifest:
                    return self._send(200, outer.manifest, MANIFEST)
                if kind == "/v2/trivy-db/blobs" and name in outer.blobs:
                    return self._send(200, outer.blob(name), "application/octet-stream")
                return self._send(404, b"", "text/plain")

            do_HEAD = do_GET  # noqa: N815 (the base's name)

            def _send(self, status: int, body: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def repository(self) -> str:
        return f"127.0.0.1:{self.server.server_port}/trivy-db:2"

    def blob(self, digest: str) -> bytes:
        data = self.blobs[digest]
        return data[:-1] + b"?" if self.lie and len(data) > 2 else data

    def put(self, directory: Path) -> None:
        """Serve `trivy.db` and `metadata.json` from `directory`."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            for name in ("trivy.db", "metadata.json"):
                tar.add(directory / name, arcname=name)
        layer, config = buffer.getvalue(), b"{}"
        self.blobs = {_digest(data): data for data in (layer, config)}
        title = {"org.opencontainers.image.title": "db.tar.gz"}
        self.manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": {"mediaType": CONFIG, "digest": _digest(config), "size": len(config)},
                "layers": [
                    {
                        "mediaType": DATABASE,
                        "digest": _digest(layer),
                        "size": len(layer),
                        "annotations": title,
                    }
                ],
            }
        ).encode()


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@contextmanager
def database_registry() -> Iterator[DatabaseRegistry]:
    """A registry without a database, for the block."""
    registry = DatabaseRegistry()
    with serving(registry.server):
        yield registry
