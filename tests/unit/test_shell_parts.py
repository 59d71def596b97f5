"""The supervisor's functions and the health check, run on the host without a container."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.regions import IMAGE_DIRECTORY

pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")

PROLOGUE = f"""
source '{IMAGE_DIRECTORY}/entrypoint.sh'
set +e
_load_parts '{IMAGE_DIRECTORY}'
read_table '{IMAGE_DIRECTORY}/regions'
"""


def bash(script: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", PROLOGUE + script],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env={"PATH": "/usr/bin:/bin", **environ},
    )


@pytest.mark.parametrize(
    ("chosen", "regions"),
    [
        pytest.param("us-east-1", "us-east-1", id="one"),
        pytest.param(" us-east-1 , eu-west-1 ", "us-east-1 eu-west-1", id="spaces"),
        pytest.param("eu-west-1,us-east-1,eu-west-1", "eu-west-1 us-east-1", id="twice"),
        pytest.param("us-east-1,,", "us-east-1", id="empty-entries"),
    ],
)
def test_regions_are_selected(chosen: str, regions: str) -> None:
    """A comma list selects regions, each once, in its order."""
    done = bash('select_regions "$CHOSEN"; echo "${ff_regions[*]}"', CHOSEN=chosen)
    assert done.stdout == f"{regions}\n"


@pytest.mark.parametrize("chosen", ["", " ", "\n"])
def test_fr_005_nothing_selected_is_all(chosen: str) -> None:
    """FR-005: without a selection all twelve run."""
    done = bash('select_regions "$CHOSEN"; echo "${#ff_regions[@]}"', CHOSEN=chosen)
    assert done.stdout == "12\n"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        pytest.param("select_regions mars", "mars", id="unknown-region"),
        pytest.param("select_regions ,", "selects no region", id="no-region"),
        pytest.param("select_regions '$(id)'", "$(id)", id="not-a-name"),
        pytest.param("N=many number N 3 0", "many", id="word"),
        pytest.param("N=-1 number N 3 0", "-1", id="negative"),
        pytest.param("N=1e3 number N 3 0", "1e3", id="exponent"),
        pytest.param("N=0 number N 3 1", "from 1", id="below-minimum"),
        pytest.param("N=99999999 number N 3 0", "99999999", id="huge"),
        pytest.param("N='a[$(id)]' number N 3 0", "a[$(id)]", id="not-evaluated"),
    ],
)
def test_bad_setting_is_one_json_line_and_exit_64(script: str, words: str) -> None:
    """A wrong setting ends with code 64 after one JSON error line that quotes it."""
    done = bash(script)
    assert done.returncode == 64
    line = json.loads(done.stdout)
    assert (line["level"], line["region"]) == ("error", "-")
    assert words in line["message"]
    assert line["timestamp"]


@pytest.mark.parametrize(("given", "value"), [("", "3"), ("08", "8"), ("0", "0"), ("12", "12")])
def test_numbers_are_decimal(given: str, value: str) -> None:
    """A leading zero is no octal number, and empty is the default."""
    assert bash('number N 3 0; echo "$REPLY"', N=given).stdout == f"{value}\n"


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(1, "0.2"), (2, "0.4"), (3, "0.8"), (4, "1.6"), (8, "25.6"), (9, "25.6"), (999999, "25.6")],
)
def test_fr_017_backoff_doubles(failures: int, seconds: str) -> None:
    """FR-017: the pause before a restart is short, doubles, and has an end."""
    assert bash(f'restart_delay {failures}; echo "$REPLY"').stdout == f"{seconds}\n"


def test_fr_017_region_waits_for_its_pause() -> None:
    """FR-017: what is logged about the end of a region does not become the length of its pause."""
    script = """
    start_timer() { printf 'timer %s %s\\n' "$@"; }
    ff_max_restarts=3 ff_stable_seconds=60
    for _ in 1 2; do remember us-east-1 1; forget us-east-1; region_ended us-east-1 1; done
    """
    timers = [line for line in bash(script).stdout.splitlines() if line.startswith("timer ")]
    assert timers == ["timer restart:us-east-1 0.2", "timer restart:us-east-1 0.4"]


def test_fr_017_restarts_are_never_used_up_where_a_start_is_stable_at_once() -> None:
    """FR-017: with FINFOCUS_STABLE_SECONDS=0 every end of a region is its first, pause included."""
    script = """
    check_binaries() { :; }
    check_ports() { :; }
    ff_home=$HOME_DIRECTORY
    load_settings
    start_timer() { printf 'timer %s %s\\n' "$@"; }
    for _ in {1..5}; do remember us-east-1 1; forget us-east-1; region_ended us-east-1 1; done
    """
    done = bash(script, FINFOCUS_STABLE_SECONDS="0", HOME_DIRECTORY=str(IMAGE_DIRECTORY))
    timers = [line for line in done.stdout.splitlines() if line.startswith("timer ")]
    assert timers == ["timer restart:us-east-1 0.2"] * 5


def test_sc_003_an_end_that_is_slept_over_costs_no_stop_time() -> None:
    """SC-003: bash may miss the last region's end just before `wait -n` listens; it is found."""
    script = """
    wait() {
      if [[ $1 == -n && -z ${slept_over:-} ]]; then
        slept_over=1
        builtin wait "${ff_pid[us-east-1]}"  # and now it is no news any more
      fi
      builtin wait "$@"
    }
    ff_regions=(us-east-1) ff_stop_seconds=10 ff_signal=TERM
    sleep 60 & remember us-east-1 "$!"
    supervise
    [[ -n ${ff_pid["timer:kill"]:-} ]] && echo "before the time was over"
    kill "${ff_pid[@]}"
    """
    done = bash(script)
    assert "before the time was over" in done.stdout
    assert "ignored" not in done.stdout


@pytest.mark.parametrize(
    ("gone", "status"), [("", 7), ("region.us-east-1", 0), ("proxy.pid", 0), ("logmux.pid", 0)]
)
def test_fr_017_the_watcher_finds_what_was_slept_over(
    gone: str, status: int, tmp_path: Path
) -> None:
    """FR-017: who has ended and has no successor at the second look wakes the supervisor."""
    script = """
    looks=0
    read() {  # four looks, then a word
      [[ $* == *' -t '* ]] || { builtin read "$@"; return; }
      ((looks++ >= 4)) && word=7
    }
    for file in region.us-east-1 proxy.pid logmux.pid; do
      sleep 60 & pids+=("$!")
      [[ $file != "$GONE" ]] || { kill "$!"; wait "$!"; }
      echo "$! 1 1.5" >"$ff_state/$file"
    done
    (watch)
    echo "status $?"
    kill "${pids[@]}" 2>/dev/null
    """
    done = bash(f"ff_state='{tmp_path}'{script}", GONE=gone)
    assert f"status {status}\n" in done.stdout


def test_fr_020_own_line_is_valid_json_whatever_it_says() -> None:
    """FR-020: quotes, backslashes and control characters do not break the supervisor's lines."""
    done = bash("log warn us-east-1 $'say \"hi\" \\\\ and\\nnew \\x01 line'")
    line = json.loads(done.stdout)
    assert line["message"] == 'say "hi" \\ and?new ? line'
    assert (line["region"], line["level"]) == ("us-east-1", "warn")


def test_port_in_use_is_named() -> None:
    """A public port that somebody listens on is one error line that names port and region."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        script = (
            f"ff_metrics_port=1; ff_regions=(us-east-1); ff_port[us-east-1]={port}; check_ports"
        )
        done = bash(script)
    assert done.returncode == 64
    assert f"port {port} of us-east-1 is in use" in json.loads(done.stdout)["message"]


def test_entrypoint_can_be_sourced_without_starting_anything() -> None:
    """Sourcing defines functions and ends."""
    done = bash("declare -F supervise start_region finish >/dev/null && echo defined")
    assert (done.returncode, done.stdout) == (0, "defined\n")


class Health:
    """Regions that answer the health check as they are told."""

    def __init__(self, statuses: dict[str, int], directory: Path, stack: ExitStack) -> None:
        rows = []
        for region, status in statuses.items():
            if status == 0:  # accepts and never answers
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
    """FR-015: all answer, exit 0, no word."""
    assert Health({"us-east-1": 200, "eu-west-1": 200}, tmp_path, stack).check() == (0, "")


def test_fr_015_every_region_that_fails_is_named(tmp_path: Path, stack: ExitStack) -> None:
    """FR-015: a bad status and a silent region are both named, the good one is not."""
    health = Health({"us-east-1": 200, "eu-west-1": 503, "sa-east-1": 0}, tmp_path, stack)
    code, words = health.check()
    assert code == 1
    assert set(words.split()) == {"unhealthy:", "eu-west-1", "sa-east-1"}


def test_fr_015_selected_regions_only(tmp_path: Path, stack: ExitStack) -> None:
    """FR-015: a region that is not selected is not asked for."""
    health = Health({"us-east-1": 200, "eu-west-1": 503}, tmp_path, stack)
    assert health.check(FINFOCUS_REGIONS=" us-east-1 ,") == (0, "")
    assert health.check(FINFOCUS_REGIONS="mars") == (1, "unhealthy: no region is selected\n")


def test_fr_009_without_the_health_endpoint_404_is_an_answer(
    tmp_path: Path, stack: ExitStack
) -> None:
    """FR-009: the plugin answers 404 when its health endpoint is off; 503 still is a failure."""
    off = {"FINFOCUS_PLUGIN_HEALTH_ENDPOINT": "false"}
    health = Health({"us-east-1": 404}, tmp_path, stack)
    assert health.check(**off) == (0, "")
    assert health.check() == (1, "unhealthy: us-east-1\n")
