"""Supervisor, proxy and log writer together on the host, with the stand-in plugin."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from socket import create_server

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness.core.regions import PLUGIN_PORT_OFFSET
from harness.core.settings import MAX_RESTARTS, default_number
from harness.core.wait import wait_until
from harness.verify.probe import get_status
from tests.on_host import OnHost

from .on_host import DEADLINE, NAMES, VERSION, lines_of, on_host, why_not

RESTARTS = default_number(MAX_RESTARTS)

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnHost]:
    """Three regions that are ready."""
    with on_host(tmp_path_factory.mktemp("on-host")) as running:
        running.await_ready()
        yield running


def get(port: int, path: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=5)


def not_ready(running: OnHost) -> list[str]:
    if not get_status(running.metrics_port, "/readyz"):
        return list(NAMES)
    return list(get(running.metrics_port, "/readyz").json()["not_ready"])


def test_fr_012_each_port_leads_to_its_region(service: OnHost) -> None:
    """FR-012 (a port per region): each public port leads to its own region."""
    found = {name: get(service.port(name), "/standin").json()["region"] for name in NAMES}
    assert found == {name: name for name in NAMES}


def test_fr_016_both_versions_of_http_on_one_port(service: OnHost) -> None:
    """FR-016 (plugins serve HTTP): HTTP/1.1 and HTTP/2 with prior knowledge reach the plugin."""
    url = f"http://127.0.0.1:{service.port('us-east-1')}/healthz"
    for http2 in (False, True):
        with httpx.Client(http1=not http2, http2=http2) as client:
            answer = client.get(url)
        assert (answer.status_code, answer.http_version) == (
            200,
            "HTTP/2" if http2 else "HTTP/1.1",
        )


def test_fr_019_metrics_are_valid_and_labelled(service: OnHost) -> None:
    """FR-019 (Prometheus metrics): each family has one HELP and TYPE; samples name their region."""
    text = get(service.metrics_port, "/metrics").text
    heads = [line.split()[1:3] for line in text.splitlines() if line.startswith("#")]
    assert len(heads) == len({tuple(head) for head in heads})
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert {
        "finfocus_region_up",
        "finfocus_region_requests",
        "finfocus_region_rpcs",
        "finfocus_region_aborted_requests",
        "finfocus_region_request_duration_seconds",
        "finfocus_region_requests_in_flight",
        "finfocus_region_connections",
        "finfocus_region_connections_limit",
        "finfocus_region_refused",
        "finfocus_region_received_bytes",
        "finfocus_region_sent_bytes",
        "finfocus_region_restarts",
        "finfocus_region_failures",
        "finfocus_region_start_time_seconds",
        "finfocus_region_ready_seconds",
        "finfocus_region_log_lines",
        "finfocus_region_log_bytes",
        "finfocus_build_info",
        "finfocus_region_state",
        "finfocus_memory_limit_bytes",
        "finfocus_memory_need_bytes",
        "finfocus_restart_limit",
    } == set(families) - {"finfocus_memory_working_set_bytes"}  # where the kernel counts it
    for family in families.values():
        if family.name.startswith(("finfocus_memory_", "finfocus_restart_limit")):
            continue
        regions = {sample.labels.get("finfocus_region") for sample in family.samples}
        assert regions == set(NAMES)
    info = families["finfocus_build_info"].samples[0]
    assert info.labels["version"] == VERSION


def test_fr_019_a_request_is_counted_once_for_its_region(service: OnHost) -> None:
    """FR-019: a request increments the counter and histogram of its region by one."""

    def counts() -> dict[tuple[str, str], float]:
        text = get(service.metrics_port, "/metrics").text
        return {
            (sample.name, sample.labels["finfocus_region"]): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "finfocus_region_request_duration_seconds_count"
            or sample.labels.get("code") == "4xx"
        }

    before = counts()
    assert get(service.port("sa-east-1"), "/no-such-path").status_code == 404
    raised = {key: value - before[key] for key, value in counts().items() if value != before[key]}
    assert raised == {
        ("finfocus_region_requests_total", "sa-east-1"): 1,
        ("finfocus_region_request_duration_seconds_count", "sa-east-1"): 1,
    }


def test_probes_answer(service: OnHost) -> None:
    """Readiness overall and per region, liveness, and a clear error for anything else."""
    assert get(service.metrics_port, "/readyz").json() == {
        "ready": True,
        "not_ready": [],
        "starting": [],
        "waiting": [],
        "saturated": [],
    }
    assert get(service.metrics_port, "/readyz/eu-west-1").status_code == 200
    assert get(service.metrics_port, "/readyz/mars").status_code == 404
    assert get(service.metrics_port, "/livez").json()["live"] is True
    assert get(service.metrics_port, "/").status_code == 404


def test_fr_006_fr_013_fr_020_a_whole_life_is_logged_and_ends_with_0(tmp_path: Path) -> None:
    """SIGTERM stops everything with code 0, and every log line is valid."""
    with on_host(tmp_path) as running:
        running.await_ready()
        assert running.stop() == 0
    lines = lines_of(running)
    assert [line for line in lines if line.problem] == []
    for name in NAMES:
        own = [line for line in lines if line.region == name]
        assert [line.text for line in own if line.fields is None]  # its PORT= line
        assert any(line.fields and "shut" in str(line.fields["message"]) for line in own), own
    assert lines[-1].fields
    assert lines[-1].fields["message"] == "all regions have stopped"


def test_region_that_is_down_answers_503_with_its_name(tmp_path: Path) -> None:
    """A starting region responds 503 in JSON; the other regions serve."""
    with on_host(tmp_path, STANDIN_START_DELAY="eu-west-1=60s") as running:
        wait_until(
            lambda: not_ready(running) == ["eu-west-1"],
            timeout=DEADLINE,
            what="all others are ready",
            explain=running.text,
        )
        answer = get(running.port("eu-west-1"), "/healthz")
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == {"error": "region is starting", "region": "eu-west-1"}
        assert get(running.port("us-east-1"), "/healthz").status_code == 200
        assert get(running.metrics_port, "/readyz").status_code == 503
        assert running.stop() == 0


def test_a_region_that_waits_long_for_its_turn_is_not_checked(tmp_path: Path) -> None:
    """Starts that take over a second: no check reaches a waiting region, which is ready later."""
    delays = {"STANDIN_START_DELAY": "2500ms", "FINFOCUS_START_PARALLEL": "1"}
    with on_host(tmp_path, **delays) as running:
        wait_until(
            lambda: get_status(running.metrics_port, "/livez"),
            timeout=DEADLINE,
            what="the proxy answers",
            explain=running.text,
        )
        last = running.port("sa-east-1") + PLUGIN_PORT_OFFSET
        checked_at = time.monotonic()
        with create_server(("127.0.0.1", last)) as listener:
            listener.settimeout(0.02)
            while get_status(running.metrics_port, "/readyz/us-east-1") != 200:
                with suppress(TimeoutError):
                    listener.accept()[0].close()
                    checked_at = time.monotonic()
        assert time.monotonic() - checked_at > 0.5
        running.await_ready()
        assert running.stop() == 0


def test_fr_017_a_region_without_restarts_left_ends_all(tmp_path: Path) -> None:
    """FR-017 (bounded restarts): after the last one all stop; code 1; the last line names it."""
    with on_host(tmp_path, STANDIN_CRASH_AT_START="sa-east-1=3") as running:
        assert running.process.wait(DEADLINE) == 1
    last = json.loads(running.text().splitlines()[-1])
    assert (last["region"], last["level"]) == ("sa-east-1", "error")
    assert f"after {RESTARTS} restarts" in last["message"]
    starts = [line for line in lines_of(running) if "stand-in starting" in line.text]
    assert sum(line.region == "sa-east-1" for line in starts) == RESTARTS + 1


def test_fr_017_a_region_that_recovers_is_counted(tmp_path: Path) -> None:
    """FR-017: after two crashes it serves, and the metrics show two restarts."""
    state = tmp_path / "state"
    state.mkdir()
    orders = {"STANDIN_CRASH_TIMES": "us-east-1=2", "STANDIN_STATE_DIR": str(state)}
    with on_host(tmp_path, **orders) as running:
        running.await_ready()
        text = get(running.metrics_port, "/metrics").text
        assert 'finfocus_region_restarts_total{finfocus_region="us-east-1"} 2\n' in text
        assert 'finfocus_region_restarts_total{finfocus_region="eu-west-1"} 0\n' in text
        assert running.stop() == 0


def test_fr_014_environment_reaches_the_plugins_byte_for_byte(tmp_path: Path) -> None:
    """FR-014 (environment unchanged): newlines, quotes and blanks arrive unchanged."""
    given = {
        "PROOF_A": "  a\n'b' \"c\" $d \\e\t",
        "PROOF_EMPTY": "",
        "IFS": "x",
        "BASH_ENV": "/nope",
    }
    with on_host(tmp_path, **given) as running:
        running.await_ready()
        name = "/finfocus.standin.v1.StandIn/Environment"
        url = f"http://127.0.0.1:{running.port('us-east-1')}{name}"
        answer = httpx.post(url, json={}, timeout=5).json()
        entries = [_decoded(entry) for entry in answer["entries"]]
        for key, value in given.items():
            assert f"{key}={value}" in entries
        assert running.stop() == 0


def _decoded(entry: str) -> str:
    return base64.b64decode(entry).decode()
