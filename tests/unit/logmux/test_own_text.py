"""Text from the container's own components also becomes JSON."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from harness.core.regions import IMAGE_DIRECTORY
from tests.unit.logmux.reference import assert_lines, expected_line
from tests.unit.logmux.running import DEADLINE_S, command, mux, needs_lua

pytestmark = needs_lua

# As HAProxy 2.6 and 2.8 write them.
HEALTH = (
    b"[WARNING]  (39) : Server region-us-west-1/plugin is DOWN, reason: Layer4 connection problem,"
    b' info: "Connection refused", check duration: 0ms. 0 active and 0 backup servers left.',
    b"Server region-us-west-1/plugin is DOWN, reason: Layer4 connection problem",
    b"[ALERT]    (39) : backend 'region-us-west-1' has no server available!",
    b"backend region-us-west-1 has no server available!",
    b"[WARNING]  (39) : Server region-us-west-1/plugin is UP, reason: Layer7 check passed",
    b"[WARNING]  (39) : Proxy us-west-1 stopped (cumulated conns: FE: 5, BE: 0).",
    b"[WARNING]  (39) : Proxy <HTTPCLIENT> stopped (cumulated conns: FE: 0, BE: 0).",
)
TROUBLE = {
    b"[ALERT]    (39) : [haproxy.main()] Cannot raise FD limit to 8215, limit is 256.": "error",
    b"[NOTICE]   (39) : haproxy version is 2.8.0": "info",
    b"<0>Proxy us-west-1 reached process FD limit (maxsock=256).": "error",
    b"<3>Lua sample-fetch 'region_problem': runtime error": "error",
    b"<4>a digit that HAProxy is told to leave out": "warn",
    b"<7>no level": "warn",
    b"<3>": "error",
    b"stack traceback:": "warn",
    b'a "quoted" \x01 line of \xff bytes': "warn",
}


def _noise() -> list[str]:
    """The patterns that the supervisor passes to the log writer."""
    script = (
        f'package.path = "{IMAGE_DIRECTORY}/?.lua"'
        ' local command = require("supervisor.commands").of('
        '{ regions = {}, home = "/h", state = "/s", lua = "/l" })["log-writer"]'
        ' for i, word in ipairs(command.arguments) do if word == "--ignore" then'
        " print(command.arguments[i + 1]) end end"
    )
    done = subprocess.run(["lua5.3", "-e", script], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def _own(tmp_path: Path, lines: list[bytes]) -> list[bytes]:
    source = tmp_path / "stream"
    source.write_bytes(b"".join(line + b"\n" for line in lines))
    options = [word for pattern in _noise() for word in ("--ignore", pattern)]
    done = subprocess.run(
        command(tmp_path, *options, "--own", f"-={source}"),
        capture_output=True,
        check=False,
        timeout=DEADLINE_S,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.splitlines()


@pytest.mark.parametrize("line", TROUBLE, ids=range(len(TROUBLE)))
def test_fr_020_text_of_an_own_part_becomes_a_record(tmp_path: Path, line: bytes) -> None:
    """FR-020 (region, timestamp, level): a component's text becomes a JSON message with a level."""
    written = mux(tmp_path, line + b"\n", own=True)
    assert_lines(written, [expected_line(line, "-", own=True)])
    record = json.loads(written[0])
    assert (record["region"], record["level"]) == ("-", TROUBLE[line])


@pytest.mark.parametrize("line", HEALTH, ids=range(len(HEALTH)))
def test_fr_020_the_proxys_own_word_of_a_health_change_is_left_out(
    tmp_path: Path, line: bytes
) -> None:
    """FR-020: HAProxy's lines about health changes are dropped; the supervisor writes its own."""
    kept = b"[ALERT]    (39) : cannot bind socket"
    assert [json.loads(x)["message"] for x in _own(tmp_path, [line, kept, line])] == [kept.decode()]


def test_fr_013_text_of_a_plugin_is_never_left_out(tmp_path: Path) -> None:
    """FR-013 (valid JSON log lines): a plugin's text that resembles the proxy's is kept."""
    source = tmp_path / "stream"
    source.write_bytes(b"".join(line + b"\n" for line in HEALTH))
    options = [word for pattern in _noise() for word in ("--ignore", pattern)]
    done = subprocess.run(
        command(tmp_path, *options, f"us-east-1={source}"),
        capture_output=True,
        check=False,
        timeout=DEADLINE_S,
    )
    assert done.stdout.splitlines() == [b"[us-east-1] " + line for line in HEALTH]


def test_fr_020_an_overlong_own_text_stays_json(tmp_path: Path) -> None:
    """FR-020: text over 4 MiB is split into pieces, each a JSON record."""
    written = mux(tmp_path, b"x" * (9 << 20) + b"\n", own=True)
    assert [len(json.loads(line)["message"]) for line in written] == [4 << 20, 4 << 20, 1 << 20]
