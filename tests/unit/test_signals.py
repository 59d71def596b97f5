"""Signals that come just when children end."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import time

import pytest

from .test_shell_parts import PROLOGUE

pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")

ROUNDS = 40
# Eleven regions that end at once and one a little later; a log writer that does not end, so that a
# `wait` for what has ended already would sleep on.
REGIONS = r"""
ff_fds=() ff_stop_seconds=1 ff_own_stream=''
ff_regions=("${ff_table_regions[@]}")
sleep 60 >/dev/null &
remember log-writer "$!"
(trap 'kill $!; sleep 0.05; exit 0' TERM; sleep 60 & wait) >/dev/null &
remember us-east-1 "$!"
for region in "${ff_regions[@]:1}"; do
  sleep 60 >/dev/null &
  remember "$region" "$!"
done
echo ready
supervise
kill -KILL "${ff_pid[@]}"
echo done
"""


def test_sc_003_a_signal_does_not_hide_the_end_of_a_region() -> None:
    """SC-003: bash may lose the end of a child to a signal; the supervisor sees it all the same."""
    chance = random.Random(0)
    for _ in range(ROUNDS):
        with subprocess.Popen(
            ["bash", "-c", PROLOGUE + REGIONS], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGTERM)
            assert "stopping 12 regions" in process.stdout.readline()
            time.sleep(chance.uniform(0, 0.01))
            process.send_signal(signal.SIGINT)
            try:
                output, _ = process.communicate(timeout=10)
            finally:
                process.kill()
        assert output == "done\n"
