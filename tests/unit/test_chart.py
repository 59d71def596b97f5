"""The parts of the Helm chart that follow the regions table, and the script of `helm test`."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from harness.core.errors import UsageError
from harness.core.regions import Region, load_regions
from harness.kubernetes.chart import CHART, HEADER, chart_files, outdated_chart, write_chart
from harness.stand_ins.serving import serving

REGIONS = (Region(name="us-east-1", port=8001), Region(name="eu-west-1", port=8003))


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """A copy of the chart, written for two regions."""
    write_chart(tmp_path / "chart", REGIONS)
    return tmp_path / "chart"


def test_the_chart_of_the_checkout_is_current() -> None:
    """Values, schema and ports have exactly the regions of the table."""
    assert outdated_chart(load_regions(), write=False) == []


def test_a_chart_for_fewer_regions_names_no_others(chart: Path) -> None:
    """FR-018 (missing tarball fails the build): values, schema and ports follow the image."""
    values = yaml.safe_load((chart / "values.yaml").read_text(encoding="utf-8"))
    schema = json.loads((chart / "values.schema.json").read_text(encoding="utf-8"))
    ports = (chart / "files" / "regions.yaml").read_text(encoding="utf-8")
    assert values["regions"] == ["us-east-1", "eu-west-1"]
    assert schema["definitions"]["region"]["enum"] == values["regions"]
    assert ports.startswith(HEADER)
    assert yaml.safe_load(ports) == {"us-east-1": 8001, "eu-west-1": 8003}
    assert outdated_chart(REGIONS, chart=chart, write=False) == []


@pytest.mark.parametrize("name", ["values.yaml", "values.schema.json", "files/regions.yaml"])
def test_a_change_by_hand_is_reported(chart: Path, name: str) -> None:
    """A file that lacks a region is named, and rewritten on request."""
    path = chart / name
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("eu-west-1", "eu-west-9"), encoding="utf-8")
    assert outdated_chart(REGIONS, chart=chart, write=True) == [path]
    assert path.read_text(encoding="utf-8") == text


def test_a_directory_with_files_is_left_alone(chart: Path) -> None:
    """A copy is written only to a new or empty directory."""
    with pytest.raises(UsageError, match="is not empty"):
        write_chart(chart, REGIONS)


def test_a_name_that_kubernetes_refuses_is_refused_here() -> None:
    """A region name too long for a port is a usage error."""
    with pytest.raises(UsageError, match="too long"):
        chart_files((Region(name="us-verylongname-1", port=1),))


class Answers(BaseHTTPRequestHandler):
    """Answers a path such as /503 with that status."""

    def do_GET(self) -> None:
        self.send_response(int(self.path[1:]))
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def answering() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    with serving(server):
        yield str(server.server_port)


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
@pytest.mark.parametrize(
    ("paths", "code"),
    [
        pytest.param(["/200", "/404"], 0, id="all-answer"),
        pytest.param(["/200", "/503"], 1, id="one-is-down"),
        pytest.param(["/503", "/200"], 1, id="first-is-down"),
    ],
)
def test_the_health_test_of_a_release(paths: list[str], code: int) -> None:
    """It fails if any endpoint answers 5xx, and names each."""
    script = (CHART / "files" / "check.sh").read_text(encoding="utf-8")
    with answering() as port:
        targets = [word for path in paths for word in ("127.0.0.1", port, path)]
        done = subprocess.run(
            ["bash", "-c", script, "check", *targets],
            env={**os.environ, "CHECK_SECONDS": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == code
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "failed" if path == "/503" else "ok" for path in paths
    ]


def test_the_health_test_fails_without_a_listener() -> None:
    """A refused connection is a failure."""
    script = (CHART / "files" / "check.sh").read_text(encoding="utf-8")
    done = subprocess.run(
        ["bash", "-c", script, "check", "127.0.0.1", "1", "/"],
        env={**os.environ, "CHECK_SECONDS": "0"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1


def test_the_health_test_waits_for_the_network() -> None:
    """A new pod may be blocked for a moment; the check tries again."""
    script = (CHART / "files" / "check.sh").read_text(encoding="utf-8")
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        address = free.getsockname()
    command = ["bash", "-c", script, "check", "127.0.0.1", str(address[1]), "/200"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as check:
        with suppress(subprocess.TimeoutExpired):
            check.wait(0.5)
        with serving(ThreadingHTTPServer(address, Answers)):
            assert check.wait(60) == 0
