"""Failures around the registry: nothing is pushed, and the message is clear."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import harness.release as job
from harness.core.errors import NotProvenError
from harness.core.proof import Proof, Status
from harness.core.regions import IMAGE_DIRECTORY, load_regions
from harness.core.stages import BuiltImage
from harness.core.wait import wait_until
from harness.engine.provision import Engine
from harness.stand_ins.registry import LocalRegistry
from harness.stand_ins.release import StandInPlugin, make_release

from ..conftest import VERSION, ImageNames, hermetic
from .conftest import ALL_BUT_TWO, REPOSITORY, Cli, Sealed
from .test_release import sources


def untouched(registry: LocalRegistry) -> bool:
    """Return whether nothing was pushed, according to the registry's log."""
    return '"PUT /v2/' not in registry.log.read_text(errors="replace")


@contextmanager
def release_server(root: Path, answer: Callable[[Any], bool]) -> Iterator[str]:
    """URL of a release server; `answer` may handle a request by returning true."""

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if not answer(self):
                super().do_GET()

        def do_HEAD(self) -> None:
            if not answer(self):
                super().do_HEAD()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(root)))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def refuse(request: Any, status: int, name: str) -> bool:
    if name not in request.path:
        return False
    request.send_error(status)
    return True


def truncate(request: Any, name: str) -> bool:
    """Announce the whole tarball and send half of it."""
    if name not in request.path or request.command == "HEAD":
        return False
    path = Path(request.translate_path(request.path))
    data = path.read_bytes()
    request.send_response(200)
    request.send_header("Content-Length", str(len(data)))
    request.end_headers()
    request.wfile.write(data[: len(data) // 2])
    request.close_connection = True
    return True


@pytest.fixture(scope="session")
def assets(image: BuiltImage) -> Path:
    """Directory with a complete release for the engine's architecture."""
    return make_release(StandInPlugin(), VERSION, image.architecture, load_regions())


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        pytest.param(partial(refuse, status=404, name="sa-east-1"), 4, "sa-east-1", id="404"),
        pytest.param(partial(refuse, status=500, name="checksums"), 4, "HTTP 500", id="500"),
        pytest.param(partial(truncate, name="us-west-2"), 5, "us-west-2", id="truncated"),
    ],
)
def test_fr_018_release_server_that_fails_publishes_nothing(
    answer: Callable[[Any], bool], code: int, words: str, assets: Path, cli: Cli
) -> None:
    """FR-018 (missing tarball fails the build): bad assets are named; nothing is pushed."""
    with release_server(assets, answer) as url:
        done = cli.run("--release-url", url, "--stand-ins", "auto")
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert untouched(cli.registry)


def test_image_that_breaks_a_promise_is_not_published(
    cli: Cli, broken: ImageNames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FR-007 (never root): an image with another user is built and checked, but not published."""
    directory = Path(shutil.copytree(IMAGE_DIRECTORY, tmp_path / "image"))
    dockerfile = directory / "Dockerfile"
    text = dockerfile.read_text(encoding="utf-8")
    assert text.count("USER 65532:65532") == 1
    other = text.replace("USER 65532:65532", "USER 65533:65533")
    dockerfile.write_text(other, encoding="utf-8")
    monkeypatch.setattr(job, "find_credentials", lambda *_: cli.registry.credentials)
    config = job.ReleaseConfig(
        build=hermetic(
            image_directory=directory,
            reference=broken("other-user"),
            without=ALL_BUT_TWO,
        ),
        registry=cli.registry.host,
        repository=REPOSITORY,
        ca=cli.registry.ca,
        output=cli.output,
    )
    with pytest.raises(NotProvenError, match="not proven"):
        job.release(config)
    (reports,) = cli.output.glob("*/proof/proof.json")
    proof = Proof.from_json_dict(json.loads(reports.read_bytes()))
    assert {c.requirement for c in proof.checks if c.status is Status.FAILED} == {"FR-007"}
    assert untouched(cli.registry)


def test_engine_that_stops_in_the_middle_of_the_build(
    engine: Engine, assets: Path, cli: Cli, tmp_path: Path
) -> None:
    """The engine stops during the build: an error, no traceback, nothing in the registry."""

    def slow(request: Any) -> bool:
        """The build has reached the download: stop the engine."""
        if request.command == "GET" and request.path.endswith(".tar.gz"):
            gone.set()
        return False

    gone = threading.Event()
    with release_server(assets, slow) as url, front_of_engine(engine, tmp_path, gone) as host:
        environ = {"DOCKER_HOST": host, "XDG_CACHE_HOME": str(tmp_path / "cache")}
        done = cli.run("--release-url", f"{url}/./", "--stand-ins", "auto", environ=environ)
    assert gone.is_set(), done.stderr
    assert done.returncode in {3, 5}, done.stderr
    assert "engine" in done.stderr
    assert "Traceback" not in done.stderr
    assert untouched(cli.registry)


@contextmanager
def front_of_engine(engine: Engine, directory: Path, gone: threading.Event) -> Iterator[str]:
    """A socket that forwards to the engine until `gone` is set; then connections break."""
    path = directory / "front.sock"
    real = (engine.host or "unix:///var/run/docker.sock").removeprefix("unix://")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    open_ones: list[socket.socket] = []

    def pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                if gone.is_set():
                    client.close()
                    continue
                server = socket.socket(socket.AF_UNIX)
                server.connect(real)
                open_ones.extend((client, server))
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=pump, args=pair, daemon=True).start()

    def cut() -> None:
        gone.wait()
        for one in open_ones:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    for work in (accept, cut):
        threading.Thread(target=work, daemon=True).start()
    try:
        yield f"unix://{path}"
    finally:
        gone.set()
        listener.close()
        for one in open_ones:
            one.close()


def test_second_release_at_once_is_refused(few: Sealed, cli: Cli) -> None:
    """Two releases of one version: the second exits with code 9, the first publishes."""
    first = subprocess.Popen(
        cli.command(*sources(few)),
        env=cli.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(
        lambda: not untouched(cli.registry) or first.poll() is not None,
        timeout=60,
        what="the first one pushes",
        interval=0.005,
    )
    second = Cli(registry=cli.registry, home=cli.home, output=cli.output.with_name("second"))
    done = second.run(*sources(few))
    _, words = first.communicate(timeout=120)
    assert done.returncode == 9, done.stderr
    assert f"is releasing {VERSION} to" in done.stderr
    assert first.returncode == 0, words
    assert {VERSION, "latest"} == cli.tags()


def test_rehearsal_on_a_registry_of_its_own(few: Sealed, tmp_path: Path) -> None:
    """--registry localhost starts a registry, publishes, pulls, runs, and is named a stand-in.

    `test_registries.py` does the same with signatures.
    """
    command = [
        *(sys.executable, "-m", "harness", "release", VERSION, "--registry", "localhost"),
        *("--output", str(tmp_path), "--unsigned", *sources(few)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "stand-in: registry in place of ghcr.io" in done.stderr
    assert done.stdout.startswith("127.0.0.1:")
    page = (tmp_path / "release.md").read_text(encoding="utf-8")
    assert "This release contains stand-ins" in page
    left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, check=False)
    assert left.returncode == 1, "the registry ended with the run"
