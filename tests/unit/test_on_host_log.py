"""The container's own log lines on the host: JSON, one per change of a region's health."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from harness.core.wait import wait_until
from tests.on_host import OnHost

from .on_host import DEADLINE, NAMES, install, lines_of, on_host, pid_of, started, why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")

READY, NOT_READY = "region is ready", "region is not ready"
# HAProxy's names of servers and proxies; the container's own messages contain none of them.
PROXYS_WORDS = ("/plugin is", "has no server", "stopped (cumulated")


def own_records(running: OnHost) -> list[dict[str, Any]]:
    """Return the JSON lines of the container's own components; plugin lines name the plugin."""
    found = [line.fields for line in lines_of(running) if line.fields]
    return [fields for fields in found if "plugin_name" not in fields]


def said(running: OnHost, region: str) -> list[str]:
    """Return the container's messages about a region, in order."""
    return [fields["message"] for fields in own_records(running) if fields["region"] == region]


def await_said(running: OnHost, region: str, message: str, count: int) -> None:
    wait_until(
        lambda: said(running, region).count(message) == count,
        timeout=DEADLINE,
        interval=0.02,
        what=f"'{message}' is said of {region} {count} times",
        explain=running.text,
    )


def assert_only_json(running: OnHost) -> None:
    """Check that every line is valid, and that the container's own lines are all JSON."""
    lines = lines_of(running)
    assert [line for line in lines if line.problem] == []
    assert [line.text for line in lines if line.fields is None and line.region not in NAMES] == []
    assert not any(word in running.text() for word in PROXYS_WORDS)


def test_fr_020_a_slow_start_says_ready_once_per_region_and_nothing_else(tmp_path: Path) -> None:
    """FR-020 (region, timestamp, level): a start slower than the first check logs only "ready"."""
    with on_host(tmp_path, STANDIN_START_DELAY="1s") as running:
        for name in NAMES:
            await_said(running, name, READY, 1)
        assert running.stop() == 0
    assert {name: said(running, name) for name in NAMES} == {name: [READY] for name in NAMES}
    assert_only_json(running)


def test_fr_020_each_change_of_health_is_one_line(tmp_path: Path) -> None:
    """FR-020: a hang, its recovery, a crash and its recovery are logged once each."""
    with on_host(tmp_path) as running:
        for name in NAMES:
            await_said(running, name, READY, 1)
        pid = pid_of(running, "eu-west-1")
        os.kill(pid, signal.SIGSTOP)
        await_said(running, "eu-west-1", NOT_READY, 1)
        os.kill(pid, signal.SIGCONT)
        await_said(running, "eu-west-1", READY, 2)
        os.kill(pid, signal.SIGKILL)
        await_said(running, "eu-west-1", READY, 3)
        assert running.stop() == 0
    levels = [
        (r["level"], r["message"]) for r in own_records(running) if r["region"] == "eu-west-1"
    ]
    crash = levels.pop(3)
    assert (crash[0], "restart 1 of 3" in crash[1]) == ("warn", True)
    assert levels == [
        *(("info", READY), ("warn", NOT_READY)),
        *(("info", READY), ("info", READY)),
    ]
    assert_only_json(running)


def test_fr_020_an_error_of_the_proxys_configuration_is_said_as_json(tmp_path: Path) -> None:
    """FR-020: if HAProxy cannot start, its error has a level and the container exits."""
    home, regions, metrics_port = install(tmp_path)
    with (home / "haproxy.region.cfg").open("a", encoding="utf-8") as template:
        template.write("    nonsense\n")
    with started(home, regions, metrics_port, {}) as running:
        assert running.process.wait(DEADLINE) == 1
    errors = [fields["message"] for fields in own_records(running) if fields["level"] == "error"]
    assert any("unknown keyword 'nonsense'" in message for message in errors), running.text()
    assert_only_json(running)
