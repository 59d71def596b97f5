"""The engine that the harness starts and stops."""

import subprocess
import sys

from harness.engine import provision


def test_engine_that_exited_but_was_not_reaped_is_stopped() -> None:
    """A run that stops the engine of another run does not wait until that run has reaped it."""
    script = (
        "import os, subprocess, sys\n"
        "child = subprocess.Popen(['true'])\n"
        "os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)\n"
        "print(child.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        zombie = int(other.stdout.readline())
        assert not provision._runs(zombie)
        assert provision._runs(other.pid)
        other.communicate()
    assert not provision._runs(other.pid)
