"""Settings and log lines of the entrypoint, run on the host without a container."""

from __future__ import annotations

import json
import shutil
import socket
from contextlib import closing
from pathlib import Path

import pytest

from .shell import bash

pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")


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
    """A comma-separated list selects regions, each once, in its order."""
    done = bash('select_regions "$CHOSEN"; echo "${ff_regions[*]}"', CHOSEN=chosen)
    assert done.stdout == f"{regions}\n"


@pytest.mark.parametrize("chosen", ["", " ", "\n"])
def test_fr_005_nothing_selected_is_all(chosen: str) -> None:
    """FR-005 (start all twelve): without a selection all twelve run."""
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
    """An invalid setting exits with 64 after one JSON error line that quotes it."""
    done = bash(script)
    assert done.returncode == 64
    line = json.loads(done.stdout)
    assert (line["level"], line["region"]) == ("error", "-")
    assert words in line["message"]
    assert line["timestamp"]


@pytest.mark.parametrize(("given", "value"), [("", "3"), ("08", "8"), ("0", "0"), ("12", "12")])
def test_numbers_are_decimal(given: str, value: str) -> None:
    """A leading zero does not mean octal, and empty means the default."""
    assert bash('number N 3 0; echo "$REPLY"', N=given).stdout == f"{value}\n"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FINFOCUS_START_PARALLEL", "x"),
        ("FINFOCUS_START_PARALLEL", "-1"),
        ("FINFOCUS_MAX_RESTARTS", "3.5"),
        ("FINFOCUS_STABLE_SECONDS", "1m"),
        ("FINFOCUS_STARTUP_SECONDS", "0"),
        ("FINFOCUS_UNHEALTHY_SECONDS", "0"),
        ("FINFOCUS_STOP_SECONDS", "never"),
    ],
)
def test_each_setting_is_checked(name: str, value: str) -> None:
    """An invalid number exits with 64 and a message with setting, value and range."""
    done = bash("check_binaries() { :; }; check_ports() { :; }; load_settings", **{name: value})
    assert done.returncode == 64
    message = json.loads(done.stdout)["message"]
    assert message.startswith(f"{name} is '{value}': give a whole number from ")
    assert "999999" in message


def test_defaults_of_the_settings(tmp_path: Path) -> None:
    """The documented defaults apply; with one processor two regions parse at a time."""
    script = f"""
    check_binaries() {{ :; }}; check_ports() {{ :; }}; cpu_set() {{ REPLY=1; }}
    FF_CGROUP='{tmp_path}'
    load_settings
    echo "$ff_max_restarts $ff_stable_seconds $ff_startup_seconds $ff_unhealthy_seconds" \\
      "$ff_stop_seconds $ff_start_parallel"
    """
    assert bash(script).stdout == "3 60 120 30 4 2\n"


def test_a_missing_binary_is_named(tmp_path: Path) -> None:
    """A missing regional binary exits with 64 and a message that names the region."""
    done = bash(f"ff_home='{tmp_path}'; ff_regions=(us-east-1); check_binaries")
    assert done.returncode == 64
    assert "the binary of us-east-1 is missing" in json.loads(done.stdout)["message"]


def test_fr_020_own_line_is_valid_json_whatever_it_says() -> None:
    """FR-020 (region, timestamp, level): special characters do not break the JSON."""
    done = bash("log warn us-east-1 $'say \"hi\" \\\\ and\\nnew \\x01 line'")
    line = json.loads(done.stdout)
    assert line["message"] == 'say "hi" \\ and?new ? line'
    assert (line["region"], line["level"]) == ("us-east-1", "warn")


def test_port_in_use_is_named() -> None:
    """A public port in use gives one error line with port and region."""
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
    done = bash("declare -F load_settings make_streams print_settings >/dev/null && echo defined")
    assert (done.returncode, done.stdout) == (0, "defined\n")
