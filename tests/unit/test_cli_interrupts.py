"""Ctrl+C at any moment: one sentence, exit code 130, no traceback."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness.stand_ins.serving import serving

SENTENCE = "error: interrupted\n"
DOCUMENT = {"error": {"exit_code": 130, "message": "interrupted"}}
SAME_PRESS_SECONDS = 0.5
TURNS = 4
LONGEST_SECONDS = 1.5


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start a command; enter the block when it handles signals: before, Python itself does."""
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", "--quiet", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        limit = time.monotonic() + 30
        while not _handles(process.pid, signal.SIGTERM) and time.monotonic() < limit:
            time.sleep(0.001)
        yield process
    finally:
        process.kill()
        process.communicate()


def _handles(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler; Python itself has none for SIGTERM."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    caught = re.search(r"SigCgt:\s*([0-9a-f]+)", status)
    return bool(caught and int(caught[1], 16) >> (number - 1) & 1)


class Server:
    """A release server that has checksums and answers no other request; `asked` after two."""

    def __init__(self) -> None:
        self._count = itertools.count()
        self.asked = threading.Event()
        self.closed = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_HEAD(self) -> None:
                # The second thread starts when the pool knows the first, and so waits for it.
                if next(outer._count):
                    outer.asked.set()
                outer.closed.wait()

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    @property
    def command(self) -> tuple[str, ...]:
        """The command that waits for this server, in threads."""
        return ("wait-release", "v1.2.3", "--release-url", self.url)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    with serving(made.http):
        yield made
        made.closed.set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_during_imports_is_one_sentence(number: signal.Signals) -> None:
    """Nothing is imported yet; with `--json` there is one document, too."""
    with started("version", "--json") as process:
        process.send_signal(number)
        out, said = process.communicate(timeout=60)
    assert (process.returncode, said, json.loads(out)) == (130, SENTENCE, DOCUMENT)


def test_interrupt_at_a_random_moment_is_one_sentence() -> None:
    """During imports, at work and while exiting; the command may be done before."""
    chance = random.Random()
    for _ in range(TURNS):
        with started("doctor") as process:
            after = chance.uniform(0, LONGEST_SECONDS)
            time.sleep(after)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        where = f"{after:.3f} s: {process.returncode}\n{said}"
        assert "Traceback" not in said and "Exception ignored" not in said, where
        if process.returncode not in {0, 3}:
            assert (process.returncode, said) == (130, SENTENCE), where


def test_second_press_exits_at_once(server: Server) -> None:
    """The first Ctrl+C waits for the threads that wait for the server; the second does not."""
    with started(*server.command, "--json") as process:
        assert server.asked.wait(60)
        process.send_signal(signal.SIGINT)
        time.sleep(SAME_PRESS_SECONDS + 0.3)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=15)
    assert (process.returncode, said, json.loads(out)) == (130, SENTENCE, DOCUMENT)


FINALIZER = """
import os, signal, sys, time
from harness.cli import entry
from harness.machine import doctor

class Finalizer:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)

def examine():
    Finalizer()
    time.sleep(600)

doctor.examine = examine
sys.argv = ["harness", "doctor"]
sys.exit(entry.run())
"""


def test_interrupt_of_a_finalizer_is_not_lost() -> None:
    """Python drops an exception in `__del__` with a traceback; the command still ends at once."""
    done = subprocess.run(
        [sys.executable, "-c", FINALIZER], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (130, SENTENCE)


AT_WORK = """
import os, signal, sys, threading, time
from harness.__main__ import main
from harness.machine import doctor

def examine():
    {work}
    time.sleep(600)

doctor.examine = examine
sys.argv = ["harness", "doctor"]
main()
"""
PRESS = "os.kill(os.getpid(), signal.SIGINT)"


@pytest.mark.parametrize(
    "work",
    [
        pytest.param(f"exec({PRESS!r})", id="code-in-a-string"),
        pytest.param(
            f"threading.Thread(target=time.sleep, args=[600]).start(); {PRESS}", id="a-thread"
        ),
    ],
)
def test_interrupted_command_does_not_wait_for_the_interpreter(work: str, tmp_path: Path) -> None:
    """The interpreter's own exit would wait for threads, or end with the signal."""
    (tmp_path / "at_work.py").write_text(AT_WORK.format(work=work), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "at_work"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, SENTENCE)
