"""Run functions of the image's shell scripts on the host."""

from __future__ import annotations

import subprocess

from harness.core.regions import IMAGE_DIRECTORY

PROLOGUE = f"""
source '{IMAGE_DIRECTORY}/prepare.sh'
set +e
ff_metrics_port=9090
_load_parts '{IMAGE_DIRECTORY}'
read_table '{IMAGE_DIRECTORY}/regions'
ff_home='{IMAGE_DIRECTORY}'
"""


def bash(script: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the script after sourcing the shell parts, with only the given environment."""
    return subprocess.run(
        ["bash", "-c", PROLOGUE + script],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env={"PATH": "/usr/bin:/bin", **environ},
    )
