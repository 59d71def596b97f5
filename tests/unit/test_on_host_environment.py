"""The environment from the container to the plugins, on the host."""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path

import httpx
import pytest

from tests.on_host import SERVING, OnHost

from .on_host import NAMES, VERSION, children, on_host, state_directory, why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")

WEIRD = {
    "PROOF_A": "  a\n'b' \"c\" $d \\e\t",
    "PROOF_EMPTY": "",
    "PROOF_EQUALS": "=a==b=",
    "PROOF_BYTES": "\udcff\udcc3\x01\x1e",
    "dotted.name": "1",
    "with blank": "2",
    "1st": "3",
    "ümlaut": "ü",
    "BASH_FUNC_log%%": "() { echo imported; }",
    "IFS": "x",
    "PS4": "$(id)",
    "BASH_ENV": "/nope",
    "ENV": "/nope",
    "SHELLOPTS": "xtrace",
    "POSIXLY_CORRECT": "1",
    "SHLVL": "7",
    "PWD": "/not/here",
    "OLDPWD": "/nor/there",
    "_": "underscore",
    "LUA_INIT": "os.exit(9)",
    "LUA_INIT_5_3": "os.exit(9)",
    "LUA_PATH": "/nope/?.lua",
    "LC_ALL": "tr_TR.UTF-8",
    "TZ": "Asia/Tokyo",
    "REPLY": "1",
    "ff_regions": "mars",
    "ff_port": "1",
    "ff_state": "/nope",
    "environ": "x",
}


def environment(running: OnHost, name: str) -> list[bytes]:
    """Return the entries of a plugin's environment."""
    url = f"http://127.0.0.1:{running.port(name)}/finfocus.standin.v1.StandIn/Environment"
    entries = httpx.post(url, json={}, timeout=5).json()["entries"]
    return [base64.b64decode(entry) for entry in entries]


def plugin_port(running: OnHost, name: str) -> bytes:
    return str(running.port(name) + 10000).encode()


def test_fr_014_environment_is_the_given_one_byte_for_byte(tmp_path: Path) -> None:
    """FR-014 (environment unchanged): odd names and values arrive; only the port is added."""
    base = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "FINFOCUS_IMAGE_VERSION": VERSION}
    expected = [os.fsencode(f"{k}={v}") for k, v in {**base, **SERVING, **WEIRD}.items()]
    with on_host(tmp_path, **WEIRD) as running:
        running.await_ready()
        for name in NAMES:
            port = b"FINFOCUS_PLUGIN_PORT=" + plugin_port(running, name)
            assert sorted(environment(running, name)) == sorted([*expected, port])
        assert running.stop() == 0


def test_fr_014_a_large_environment_arrives(tmp_path: Path) -> None:
    """FR-014: 200 kB arrive, in a few and in many variables."""
    large = {f"PROOF_{index}": secrets.token_hex(25_000) for index in range(3)}
    large |= {f"PROOF_MANY_{index}": "v" * 40 for index in range(1000)}
    with on_host(tmp_path, **large) as running:
        running.await_ready()
        entries = set(environment(running, NAMES[0]))
        assert {f"{key}={value}".encode() for key, value in large.items()} <= entries
        assert running.stop() == 0


@pytest.mark.parametrize("order", ["variable", "flag", "both"])
def test_fr_012_ports_given_to_the_container_do_not_break_regions(
    order: str, tmp_path: Path
) -> None:
    """FR-012 (a port per region): every plugin version gets its own port, whatever PORT is set."""
    given = {"FINFOCUS_PLUGIN_PORT": "1", "PORT": "1", "STANDIN_PORT_ORDER": order}
    with on_host(tmp_path, **given) as running:
        running.await_ready()
        for name in NAMES:
            ports = [
                e for e in environment(running, name) if b"PORT=" in e.partition(b"=")[0] + b"="
            ]
            assert sorted(ports) == [
                b"FINFOCUS_PLUGIN_PORT=" + plugin_port(running, name),
                b"PORT=1",
            ]
        assert running.stop() == 0


def test_secrets_stay_in_the_environment(tmp_path: Path) -> None:
    """No value of the environment is in a command line or a file of the state directory."""
    secret = secrets.token_hex(20)
    with on_host(tmp_path, AWS_SECRET_ACCESS_KEY=secret) as running:
        running.await_ready()
        lines = children(running)
        assert len(lines) == len(NAMES) + 2
        own = Path(f"/proc/{running.process.pid}/cmdline").read_bytes().decode()
        assert secret not in own + str(lines)
        files = [path for path in state_directory(running).iterdir() if path.is_file()]
        assert {"state", "settings.cfg", "regions.cfg"} <= {path.name for path in files}
        assert not [path for path in files if secret.encode() in path.read_bytes()]
        assert running.stop() == 0
    assert secret not in running.text()
