"""The container's own lines on the host, with the HAProxy that is installed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from harness.on_host import OnHost
from harness.wait import wait_until

from .on_host import DEADLINE, NAMES, lines_of, on_host, why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
DELAY = {"STANDIN_START_DELAY": "1s", "FINFOCUS_START_PARALLEL": "1"}


def test_fr_020_own_lines_of_a_slow_start_and_a_crash_are_json(tmp_path: Path) -> None:
    """FR-020: every line of the container's own is JSON, and a health change is one line.

    Regions that listen later than the proxy's first check make HAProxy write text, twice an event.
    """
    with on_host(tmp_path, **DELAY) as running:
        running.await_ready()
        wait_until(
            lambda: len(_said(running, "region is ready")) == len(NAMES),
            timeout=DEADLINE,
            what="every region is said to be ready",
        )
        os.kill(_pid(running, "sa-east-1"), signal.SIGKILL)
        wait_until(
            lambda: len(_said(running, "region is ready")) == len(NAMES) + 1,
            timeout=DEADLINE,
            what="the killed region is said to be ready again",
        )
        running.stop()
    own = [line for line in lines_of(running) if line.region not in NAMES or line.fields]
    assert all(line.fields for line in own), [line.text for line in own if not line.fields]
    messages = [
        str(line.fields["message"])
        for line in own
        if line.fields and "plugin_name" not in line.fields
    ]
    assert sum("exited (code 137)" in message for message in messages) == 1
    assert len(messages) == len(NAMES) + 5, messages  # starting, exited, ready, SIGTERM, stopped


def _said(running: OnHost, words: str) -> list[str]:
    return [line.text for line in lines_of(running) if words in line.text]


def _pid(running: OnHost, name: str) -> int:
    """Process ID of the plugin of `name`, as its own first line says."""
    lines = [line.fields or {} for line in lines_of(running) if line.region == name]
    return next(int(str(fields["pid"])) for fields in lines if "pid" in fields)
