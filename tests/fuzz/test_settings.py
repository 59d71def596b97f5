"""The regions table and the settings: shell and Python agree, and nothing is evaluated.

Bash cannot be instrumented for coverage, so hypothesis generates the inputs.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.core.errors import UsageError
from harness.core.regions import load_regions
from tests.unit.shell import bash

pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")

NAMES = [region.name for region in load_regions()]
NAME = st.from_regex(r"[a-z]{2}(-[a-z]{1,6}){1,2}-\d", fullmatch=True) | st.sampled_from(NAMES)
PORT = st.integers(0, 70000).map(str) | st.sampled_from(["08001", "8001x", "", "-1", "0x1f"])
GAP = st.sampled_from([" ", "\t", "   ", ""])
ROW = st.tuples(GAP, NAME, GAP, PORT, GAP).map("".join)
LINE = (
    ROW
    | st.sampled_from(["", "# comment", "  # comment", "#"])
    | st.text("ab-1 #\t\\$", max_size=12)
)
WORD = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
HOSTILE = ["$(id)", "a[$(id)]", "`id`", "ff_pid[x]", "1;id", "*", "~", "0x10", "1e3", "٣", "1\n2"]


@given(lines=st.lists(LINE, max_size=8))
@example(lines=["us-east-1 8001", "", "# x", "us-west-2\t8002  "])
@example(lines=["us-east-1 08001"])
@example(lines=["us-east-1 8001 # comment"])
def test_shell_and_python_read_the_same_table(lines: list[str]) -> None:
    """A table that the harness accepts gives the same regions and ports in the container."""
    with tempfile.TemporaryDirectory() as directory:
        table = Path(directory, "regions")
        table.write_text("\n".join(lines) + "\n", encoding="utf-8")
        try:
            wanted = [f"{region.name} {region.port}" for region in load_regions(Path(directory))]
        except UsageError:
            return
        script = (
            f"read_table '{table}'; select_regions ''\n"
            'for r in "${ff_regions[@]}"; do echo "$r $((10#${ff_port[$r]}))"; done'
        )
        assert bash(script).stdout.splitlines() == wanted


@given(value=WORD | st.integers(-5, 2000000).map(str) | st.sampled_from(HOSTILE))
@example(value="08")
@example(value=" 5")
@example(value="999999")
def test_a_number_is_read_or_refused(value: str) -> None:
    """A setting is an integer in range, or one JSON line and exit code 64; never evaluated."""
    done = bash('number N 3 1; echo "$REPLY"', N=value)
    if value == "":
        assert done.stdout == "3\n"
    elif re.fullmatch(r"[0-9]{1,6}", value, re.ASCII) and int(value) >= 1:
        assert done.stdout == f"{int(value)}\n"
    else:
        _refused(done)


@given(value=WORD | st.lists(st.sampled_from([*NAMES, "", " ", "mars", *HOSTILE])).map(",".join))
@example(value=",")
@example(value="us-east-1,\n,eu-west-1")
def test_regions_are_selected_or_refused(value: str) -> None:
    """A list selects regions of the table, each once, or gives one JSON line and exit code 64."""
    done = bash('select_regions "$CHOSEN"; printf "%s\\n" "${ff_regions[@]}"', CHOSEN=value)
    if done.returncode:
        _refused(done)
        return
    chosen = done.stdout.splitlines()
    assert chosen and set(chosen) <= set(NAMES) and len(set(chosen)) == len(chosen)
    words = [word for word in re.sub(r"[ \t\n\v\f\r]", "", value).split(",") if word]
    assert chosen == (list(dict.fromkeys(words)) or NAMES)


def _refused(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 64, done
    assert done.stderr == ""
    assert json.loads(done.stdout)["level"] == "error"
