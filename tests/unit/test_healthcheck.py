"""The health check on the host, against fake servers."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.core.regions import IMAGE_DIRECTORY

pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")


class Health:
    """Regions with configurable health responses."""

    def __init__(self, statuses: dict[str, int], directory: Path, stack: ExitStack) -> None:
        rows = []
        for region, status in statuses.items():
            if status == 0:  # accepts and never responds
                server = stack.enter_context(closing(socket.create_server(("127.0.0.1", 0))))
                port = server.getsockname()[1]
            else:
                port = self._serve(status, stack)
            rows.append(f"{region} {port}\n")
        directory.joinpath("regions").write_text("".join(rows), encoding="utf-8")
        shutil.copy(IMAGE_DIRECTORY / "healthcheck.sh", directory)
        self.script = directory / "healthcheck.sh"

    def _serve(self, status: int, stack: ExitStack) -> int:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        stack.callback(server.server_close)
        stack.callback(server.shutdown)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server.server_port

    def check(self, **environ: str) -> tuple[int, str]:
        done = subprocess.run(
            ["bash", str(self.script)],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            env={"PATH": "/usr/bin:/bin", "FINFOCUS_PLUGIN_HEALTH_ENDPOINT": "true", **environ},
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Closes the servers of a test."""
    with ExitStack() as made:
        yield made


def test_fr_015_healthy_is_quiet(tmp_path: Path, stack: ExitStack) -> None:
    """FR-015 (health check needs all regions): if all respond, exit 0 without output."""
    assert Health({"us-east-1": 200, "eu-west-1": 200}, tmp_path, stack).check() == (0, "")


def test_fr_015_every_region_that_fails_is_named(tmp_path: Path, stack: ExitStack) -> None:
    """FR-015: a bad status and an unresponsive region are named, a healthy one is not."""
    health = Health({"us-east-1": 200, "eu-west-1": 503, "sa-east-1": 0}, tmp_path, stack)
    code, words = health.check()
    assert code == 1
    assert set(words.split()) == {"unhealthy:", "eu-west-1", "sa-east-1"}


def test_fr_015_selected_regions_only(tmp_path: Path, stack: ExitStack) -> None:
    """FR-015: an unselected region is not probed."""
    health = Health({"us-east-1": 200, "eu-west-1": 503}, tmp_path, stack)
    assert health.check(FINFOCUS_REGIONS=" us-east-1 ,") == (0, "")
    assert health.check(FINFOCUS_REGIONS="mars") == (1, "unhealthy: no region is selected\n")


def test_fr_009_without_the_health_endpoint_404_is_an_answer(
    tmp_path: Path, stack: ExitStack
) -> None:
    """FR-009 (health endpoint): with it off, the plugin's 404 is healthy; 503 is not."""
    off = {"FINFOCUS_PLUGIN_HEALTH_ENDPOINT": "false"}
    health = Health({"us-east-1": 404}, tmp_path, stack)
    assert health.check(**off) == (0, "")
    assert health.check() == (1, "unhealthy: us-east-1\n")
