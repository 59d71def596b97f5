"""The program: counters, signals, exits and arguments."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.logmux.reference import NOW_PATTERN, REGION
from tests.unit.logmux.running import (
    DEADLINE_S,
    LUA,
    SCRIPT,
    Supervisor,
    command,
    needs_lua,
    wait_until,
)

pytestmark = needs_lua


def test_fr_020_stats_while_running(supervise: Callable[..., Supervisor], tmp_path: Path) -> None:
    """Counters are written while it runs, per name, summed over the name's streams."""
    supervisor = supervise("a", "a", "b")
    supervisor.start()
    supervisor.write(b"123\n", 0)
    supervisor.write(b"12345\n", 1)
    stats = tmp_path / "logmux.stats"

    def has(text: str) -> Callable[[], bool]:
        return lambda: stats.exists() and stats.read_text() == text

    wait_until(has("a 2 10\nb 0 0\n"), "the first counters")
    supervisor.write(b"1\nhalf", 2)
    wait_until(has("a 2 10\nb 1 6\n"), "the second counters")
    supervisor.end()
    assert has("a 2 10\nb 2 6\n")()


@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE],
    ids=lambda number: signal.Signals(number).name,
)
def test_fr_020_signals_do_not_end_it(
    supervise: Callable[..., Supervisor], number: signal.Signals
) -> None:
    """The signals that stop a container do not stop the log writer."""
    supervisor = supervise()
    process = supervisor.start()
    supervisor.write(b"before\n")
    assert supervisor.read_lines(1) == [b"[us-east-1] before"]
    process.send_signal(number)
    supervisor.write(b"after\n")
    assert supervisor.end() == b"[us-east-1] after\n"


def test_fr_020_stdout_flags_are_restored(supervise: Callable[..., Supervisor]) -> None:
    """While it runs stdout is non-blocking; after a clean exit the flags are restored."""
    supervisor = supervise()
    kept = os.dup(supervisor.stdout)
    supervisor.start()
    supervisor.write(b"x\n")
    assert supervisor.read_lines(1) == [b"[us-east-1] x"]
    assert not os.get_blocking(kept)
    supervisor.close_fifos()
    assert supervisor.reap() == 0
    assert os.get_blocking(kept)
    os.close(kept)


def test_fr_020_gone_reader_ends_it(supervise: Callable[..., Supervisor]) -> None:
    """Without a reader it exits with 1; unwritten data is written after the next start."""
    supervisor = supervise()
    supervisor.start()
    supervisor.write(b"before\n")
    assert supervisor.read_lines(1) == [b"[us-east-1] before"]
    os.close(supervisor.reader)
    supervisor.write(b"after\n")
    assert supervisor.reap() == 1
    os.close(supervisor.stdout)
    supervisor.reader, supervisor.stdout = os.pipe()
    supervisor.start()
    assert supervisor.end() == b"[us-east-1] after\n"


def test_fr_020_closed_stdout_ends_it(tmp_path: Path) -> None:
    """Without stdout it exits with 1."""
    path = tmp_path / "stream"
    path.write_bytes(b"x\n")
    words = command(tmp_path, f"{REGION}={path}")
    done = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *words], check=False)
    assert done.returncode == 1


def test_fr_013_unreadable_stream_is_reported(tmp_path: Path) -> None:
    """An unreadable stream ends with an error line; the others continue."""
    path = tmp_path / "stream"
    path.write_bytes(b"x\n")
    words = command(tmp_path, f"eu-west-1={tmp_path}", f"{REGION}={path}")
    done = subprocess.run(words, capture_output=True, check=True)
    error, line = done.stdout.splitlines()
    assert json.loads(error)["level"] == "error" and "cannot read" in json.loads(error)["message"]
    assert line == b"[us-east-1] x"


USAGE = {
    "nothing": [],
    "no-mark": ["--state", "{dir}", "a={file}"],
    "empty-mark": ["--mark", "", "--state", "{dir}", "a={file}"],
    "mark-with-newline": ["--mark", "a\nb", "--state", "{dir}", "a={file}"],
    "no-state": ["--mark", "m", "a={file}"],
    "mark-without-value": ["--state", "{dir}", "a={file}", "--mark"],
    "no-stream": ["--mark", "m", "--state", "{dir}"],
    "no-equals": ["--mark", "m", "--state", "{dir}", "a"],
    "no-path": ["--mark", "m", "--state", "{dir}", "a="],
    "bad-name": ["--mark", "m", "--state", "{dir}", 'a"b={file}'],
    "own-without-value": ["--mark", "m", "--state", "{dir}", "a={file}", "--own"],
    "unknown-option": ["--mark", "m", "--state", "{dir}", "a={file}", "--verbose"],
    "path-twice": ["--mark", "m", "--state", "{dir}", "a={file}", "b={file}"],
    "missing-fifo": ["--mark", "m", "--state", "{dir}", 'a={file}"\u00fc\x01'],
    "missing-state-dir": ["--mark", "m", "--state", "{dir}/none", "a={file}"],
}


@pytest.mark.parametrize("arguments", USAGE.values(), ids=USAGE.keys())
def test_fr_013_bad_arguments(tmp_path: Path, arguments: list[str]) -> None:
    """Bad arguments give one JSON line and exit code 64."""
    path = tmp_path / "stream"
    path.write_bytes(b"x\n")
    words = [
        word.replace("{dir}", str(tmp_path)).replace("{file}", str(path)) for word in arguments
    ]
    done = subprocess.run([str(LUA), str(SCRIPT), *words], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (64, b"")
    assert done.stdout.count(b"\n") == 1
    error = json.loads(done.stdout)
    assert (error["level"], error["region"]) == ("error", "-")
    assert error["message"].startswith("logmux: ")
    assert re.fullmatch(NOW_PATTERN, json.dumps(error["timestamp"]).encode())


PLACES = {
    "elsewhere": ("strange", str(SCRIPT)),
    "relative": ("strange", "../image/logmux.lua"),
    "beside": ("image", "logmux.lua"),
}


@pytest.mark.parametrize(("directory", "word"), PLACES.values(), ids=PLACES.keys())
def test_fr_013_modules_are_those_beside_the_program(
    tmp_path: Path, directory: str, word: str
) -> None:
    """Modules are not loaded from the working directory or LUA_PATH."""
    shutil.copytree(SCRIPT.parent, tmp_path / "image")
    strange = tmp_path / "strange"
    for module in (tmp_path / "image").rglob("*.lua"):
        path = strange / module.relative_to(tmp_path / "image")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('error "the wrong module"', encoding="utf-8")
    stream = tmp_path / "stream"
    stream.write_bytes(b"x\n")
    done = subprocess.run(
        [str(LUA), word, *command(tmp_path, f"{REGION}={stream}")[2:]],
        cwd=tmp_path / directory,
        env={**os.environ, "LUA_PATH": f"{strange}/?.lua;;"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"[us-east-1] x\n", b"")


def test_what_a_stream_without_a_writer_holds_is_written_and_ends(tmp_path: Path) -> None:
    """A log writer that starts after the last writer has exited does not wait for another."""
    source = tmp_path / "stream"
    os.mkfifo(source)
    writer = os.open(source, os.O_RDWR)
    reader = os.open(source, os.O_RDONLY | os.O_NONBLOCK)
    os.write(writer, b"last words\n")
    os.close(writer)
    done = subprocess.run(
        command(tmp_path, f"{REGION}={source}"),
        capture_output=True,
        check=False,
        timeout=DEADLINE_S,
    )
    os.close(reader)
    assert (done.returncode, done.stdout) == (0, f"[{REGION}] last words\n".encode())
