"""The supervisor with real processes on the host: status, signals, errors, lost wake-ups."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from harness.core.wait import wait_until
from tests.on_host import OnHost

from .on_host import (
    DEADLINE,
    NAMES,
    children,
    install,
    on_host,
    pid_of,
    started,
    state_directory,
    why_not,
)

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")

ROUNDS = 12
# Nothing wakes this one, neither a descriptor nor a signal.
DEAF = """
local poll, time = require "posix.poll", require "posix.time"
local real = poll.poll
local function now()
  local moment = time.clock_gettime(time.CLOCK_MONOTONIC)
  return moment.tv_sec + moment.tv_nsec / 1e9
end
function poll.poll(set, milliseconds)
  for _, entry in pairs(set) do
    entry.revents = nil
  end
  local due = now() + milliseconds / 1000
  while now() < due do
    real({}, math.ceil((due - now()) * 1000))
  end
  return 0
end
"""
# Once a file exists, this many calls fail.
FAILING = """
local step = require "supervisor.step"
local wait, left = step.wait, %s
function step.wait(...)
  local file = io.open(directory .. "fail")
  if file then
    file:close()
    left = left - 1
    if left >= 0 then
      error 'injected "error"'
    end
  end
  return wait(...)
end
"""


def status(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["lua5.3", "-E", str(home / "status"), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )


def home_of(running: OnHost) -> Path:
    return running.output.parent / "finfocus"


def test_status_is_a_table_and_json(tmp_path: Path) -> None:
    """Status shows state, process ID and starts of every process, as a table and as JSON."""
    with on_host(tmp_path, STANDIN_START_DELAY="eu-west-1=60s") as running:
        wait_until(
            lambda: running.text().count("region is ready") == 2,
            timeout=DEADLINE,
            what="two regions are ready",
            explain=running.text,
        )
        found = {
            row["name"]: row
            for row in json.loads(status(home_of(running), "--json").stdout)["processes"]
        }
        assert list(found) == ["log-writer", *NAMES, "proxy"]
        assert {name: row["state"] for name, row in found.items()} == {
            "log-writer": "ready",
            "us-east-1": "ready",
            "eu-west-1": "starting",
            "sa-east-1": "ready",
            "proxy": "ready",
        }
        assert {row["pid"] for row in found.values()} == set(children(running))
        assert all(row["starts"] == 1 and row["failures"] == 0 for row in found.values())
        assert all(abs(row["started_at"] - time.time()) < 60 for row in found.values())
        assert found["eu-west-1"]["ready_seconds"] is None
        assert 0 < found["us-east-1"]["ready_seconds"] < 60
        table = status(home_of(running)).stdout.splitlines()
        assert [line.split()[:2] for line in table[1:]] == [
            [name, row["state"]] for name, row in found.items()
        ]
        assert status(home_of(running), "--xml").returncode == 64
        assert running.stop() == 0


def test_status_without_a_supervisor_is_1(tmp_path: Path) -> None:
    """If no supervisor runs, status says so and exits with 1."""
    home, _, _ = install(tmp_path)
    alone = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    if not shutil.which("unshare") or subprocess.run([*alone, "true"], check=False).returncode:
        pytest.skip("no process namespace of one's own")
    done = subprocess.run(
        [*alone, "lua5.3", "-E", str(home / "status")],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: the supervisor is not running here")


def catches_sigterm(pid: int) -> bool:
    """Tell whether the supervisor has a handler for SIGTERM; proc(5), SigCgt."""
    if not Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"lua"):
        return False
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    return False


def test_sc_003_sigterm_at_any_moment_of_the_start_ends_with_0(tmp_path: Path) -> None:
    """SC-003: a stop in the first 100 ms is a clean stop, while the settings are checked too.

    The entrypoint replaces itself in its first milliseconds; a signal is not sent before that.
    """
    made = install(tmp_path)
    chance = random.Random(0)
    codes = []
    for _ in range(ROUNDS):
        with started(*made, {}) as running:
            time.sleep(chance.uniform(0, 0.1))
            wait_until(
                lambda: catches_sigterm(running.process.pid),
                timeout=DEADLINE,
                interval=0,
                what="a handler for SIGTERM",
            )
            began = time.monotonic()
            codes.append(running.stop())
            # The stop's deadline: nothing was killed.
            assert time.monotonic() - began < 4
        assert "ignored SIGTERM" not in running.text()
    assert codes == [0] * ROUNDS


def test_sc_003_no_wake_up_is_needed(tmp_path: Path) -> None:
    """SC-003: with all wake-ups but the timer lost, every bound still holds."""
    with on_host(tmp_path, lua=DEAF) as running:
        running.await_ready()
        wait_until(
            lambda: running.text().count("region is ready") == len(NAMES),
            timeout=DEADLINE,
            what="the supervisor sees all regions ready",
            explain=running.text,
        )
        victim = pid_of(running, "eu-west-1")
        os.kill(victim, signal.SIGKILL)
        wait_until(
            lambda: running.text().count("region is ready") == len(NAMES) + 1,
            timeout=DEADLINE,
            what="the killed region is ready again",
            explain=running.text,
        )
        assert pid_of(running, "eu-west-1") != victim
        url = f"http://127.0.0.1:{running.port('eu-west-1')}/healthz"
        assert httpx.get(url, timeout=5).status_code == 200
        began = time.monotonic()
        assert running.stop() == 0
        took = time.monotonic() - began
    assert "ignored SIGTERM" not in running.text()
    assert json.loads(running.text().splitlines()[-1])["message"] == "all regions have stopped"
    assert took < 4  # the stop's deadline: nothing was killed


@pytest.mark.parametrize(("times", "in_order"), [("1", True), ("math.huge", False)])
def test_an_error_of_the_supervisor_stops_everything(
    times: str, in_order: bool, tmp_path: Path
) -> None:
    """One error causes a clean stop, a second one stops immediately; code 1 and a JSON line."""
    with on_host(tmp_path, lua=FAILING % times) as running:
        running.await_ready()
        pids = children(running)
        (home_of(running) / "fail").touch()
        assert running.process.wait(DEADLINE) == 1
        wait_until(
            lambda: not [pid for pid in pids if Path(f"/proc/{pid}").exists()],
            timeout=DEADLINE,
            what="the end of every child",
        )
    lines = [json.loads(line) for line in running.text().splitlines() if line.startswith("{")]
    errors = [line for line in lines if line["level"] == "error"]
    assert 'injected \\"error\\"' in json.dumps(errors[0]["message"])
    shut = {line["region"] for line in lines if "shut" in line["message"]}
    assert (shut == set(NAMES)) == in_order
    if in_order:
        assert errors[-1]["message"].startswith("internal error in the supervisor")


def test_sc_003_a_state_directory_that_is_gone_does_not_hold_the_stop(tmp_path: Path) -> None:
    """SC-003: the stop exits with 0 even if its files were deleted."""
    with on_host(tmp_path) as running:
        running.await_ready()
        shutil.rmtree(state_directory(running))
        assert running.stop() == 0


# The first wait for stdout returns as if interrupted by a signal.
INTERRUPTED = """
local poll = require "posix.poll"
local real, interrupted = poll.poll, false
function poll.poll(set, ...)
  if set[1] and not interrupted then
    interrupted = true
    return nil, "Interrupted system call"
  end
  return real(set, ...)
end
"""
UNOPENED = """
local fcntl = require "posix.fcntl"
function fcntl.open(path)
  return nil, path .. ": Too many open files"
end
"""


def test_fr_017_a_signal_does_not_take_the_last_words(tmp_path: Path) -> None:
    """FR-017: the last line names the region even if a signal interrupts the wait for stdout."""
    orders = {"STANDIN_CRASH_AT_START": "sa-east-1=3", "FINFOCUS_MAX_RESTARTS": "0"}
    with on_host(tmp_path, lua=INTERRUPTED, **orders) as running:
        assert running.process.wait(DEADLINE) == 1
    last = json.loads(running.text().splitlines()[-1])
    assert "failed again after 0 restarts" in last["message"]


def test_fr_020_an_error_before_the_first_start_is_one_json_line(tmp_path: Path) -> None:
    """FR-020: if the supervisor cannot open its files, it logs JSON and exits with 1."""
    with on_host(tmp_path, lua=UNOPENED) as running:
        assert running.process.wait(DEADLINE) == 1
    (line,) = (json.loads(line) for line in running.text().splitlines())
    assert (line["level"], line["region"]) == ("error", "-")
    assert "Too many open files" in line["message"]
