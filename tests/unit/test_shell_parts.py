"""Settings and log lines of the entrypoint, run on the host without a container."""

from __future__ import annotations

import json
import shutil
import socket
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from harness.core.regions import load_regions
from harness.core.settings import fixed_numbers, load_settings

from .shell import bash


class Number(NamedTuple):
    """A setting that is a number."""

    name: str
    short_name: str
    minimum: int


NUMBERS = [
    Number(setting.name, setting.short_name, setting.minimum)
    for setting in load_settings().values()
    if setting.minimum is not None
]
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
    """FR-005 (start all regions): without a selection all regions run."""
    done = bash('select_regions "$CHOSEN"; echo "${#ff_regions[@]}"', CHOSEN=chosen)
    assert done.stdout == f"{len(load_regions())}\n"


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
        (setting.name, value)
        for setting in NUMBERS
        for value in ("x", "3.5", "1m", "never", f"{setting.minimum - 1}", "1000000")
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
    """Without settings the table's numbers apply; two regions parse at a time on one processor."""
    script = f"""
    check_binaries() {{ :; }}; check_ports() {{ :; }}; cpu_set() {{ REPLY=1; }}
    FF_CGROUP='{tmp_path}'
    load_settings
    for name in "${{!ff_setting[@]}}"; do echo "$name=${{ff_setting[$name]}}"; done
    """
    wanted = {**fixed_numbers(), "start_parallel": 2}
    # A variable of the container does not stand in for the table's.
    done = bash(script, ff_setting="7", ff_max_restarts="7")
    assert set(done.stdout.split()) == {f"{name}={value}" for name, value in wanted.items()}


@pytest.mark.parametrize("setting", NUMBERS, ids=[setting.name for setting in NUMBERS])
def test_each_number_reaches_the_supervisor(setting: Number, tmp_path: Path) -> None:
    """What is set is handed over under the supervisor's name, at the minimum too."""
    script = f"""
    check_binaries() {{ :; }}; check_ports() {{ :; }}; ff_state='{tmp_path}'
    load_settings; print_settings
    """
    lines = bash(script, **{setting.name: str(setting.minimum)}).stdout.splitlines()
    assert f"{setting.short_name}={setting.minimum}" in lines


def test_a_missing_binary_is_named(tmp_path: Path) -> None:
    """A missing regional binary exits with 64 and a message that names the region."""
    done = bash(f"ff_home='{tmp_path}'; ff_regions=(us-east-1); check_binaries")
    assert done.returncode == 64
    assert "no binary of us-east-1, only of no region:" in json.loads(done.stdout)["message"]


def test_image_of_one_region_runs_it_and_names_it_for_another(tmp_path: Path) -> None:
    """Its table has all regions: that one starts; another, or all, exits with 64 and the remedy."""
    (tmp_path / "bin").mkdir()
    binary = tmp_path / "bin" / "finfocus-plugin-aws-public-us-east-1"
    binary.touch(mode=0o755)
    script = f"ff_home='{tmp_path}'; select_regions {{}}; check_binaries"
    assert bash(script.format("us-east-1")).returncode == 0
    for selection in ("eu-west-1", "''"):
        done = bash(script.format(selection))
        assert done.returncode == 64
        assert "only of us-east-1: select" in json.loads(done.stdout)["message"]


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
