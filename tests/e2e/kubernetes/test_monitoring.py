"""Alert rules fire, and a real Prometheus answers the dashboard's queries."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.core.process import ensure_tools, run
from harness.core.regions import METRICS_PORT, REPOSITORY, load_regions
from harness.core.stages import BuiltImage
from harness.core.wait import wait_until
from harness.engine.provision import Engine
from harness.kubernetes.chart import CHART
from harness.verify.service_checks import NAME_PATH
from tests.e2e.kubernetes.conftest import HERE
from tests.e2e.served import ServedImage

RULES = CHART / "files" / "rules.yaml"
DASHBOARD = CHART / "files" / "dashboard.json"
REGIONS = load_regions()
PORTS = (*(region.port for region in REGIONS), METRICS_PORT)


def groups() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return found


ALERTS = [rule["alert"] for group in groups() for rule in group["rules"] if "alert" in rule]


@pytest.fixture(scope="module", autouse=True)
def _prometheus_is_installed() -> None:
    ensure_tools({"promtool": "prometheus", "prometheus": "prometheus"}, wanted_for="the rules")


def test_rules_are_valid_and_fire() -> None:
    """promtool accepts the rules, and their test cases pass."""
    run(["promtool", "check", "rules", str(RULES)])
    run(["promtool", "test", "rules", str(HERE / "rules_test.yaml")])


def cases() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((HERE / "rules_test.yaml").read_text(encoding="utf-8"))
    return found


def test_an_alert_that_never_fires_is_noticed(tmp_path: Path) -> None:
    """If every alert's condition is made false, a test case fails for each: each has one."""
    broken = {"groups": groups()}
    for group in broken["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                rule["expr"] = "vector(0) == 1"
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(broken), encoding="utf-8")
    (tmp_path / "cases.yaml").write_text(
        yaml.safe_dump({**cases(), "rule_files": ["rules.yaml"]}), encoding="utf-8"
    )
    done = subprocess.run(
        ["promtool", "test", "rules", str(tmp_path / "cases.yaml")],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode
    noticed = set(re.findall(r"alertname: (\w+)", done.stdout + done.stderr))
    assert set(ALERTS) - noticed == set()


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_is_silent_when_all_is_well(alert: str) -> None:
    """The case without alerts has a series of every metric that the alert reads."""
    well = cases()["tests"][0]
    given = {series["series"].partition("{")[0] for series in well["input_series"]}
    rules = [rule for group in groups() for rule in group["rules"]]
    recorded = {rule["record"]: rule["expr"] for rule in rules if "record" in rule}
    (expression,) = (rule["expr"] for rule in rules if rule.get("alert") == alert)
    for name in sorted(recorded, key=len, reverse=True):
        expression = expression.replace(name, recorded[name])
    read = set(re.findall(r"\b(?:finfocus|kube)_\w+|\bup(?={)", expression))
    assert read - {"finfocus_region"} and read - {"finfocus_region"} <= given


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_advice(alert: str) -> None:
    """The alert's `runbook_url` leads to its own heading in the operators' documentation."""
    rules = {rule.get("alert"): rule for group in groups() for rule in group["rules"]}
    address, _, anchor = rules[alert]["annotations"]["runbook_url"].partition("#")
    base, _, path = address.partition("/blob/main/")
    assert base == "https://github.com/rshade/finfocus-plugin-aws-public"
    text = (REPOSITORY / path).read_text(encoding="utf-8")
    headings = [line.lstrip("# ").lower() for line in text.splitlines() if line.startswith("#")]
    assert anchor == alert.lower()
    assert anchor in headings


def queries() -> list[tuple[str, str]]:
    """Title and expression of every dashboard query, with variables filled in."""
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    values = {"$namespace": ".*", "$region": ".*", "$__rate_interval": "10s"}
    found = []
    for panel in panels:
        for target in panel["targets"]:
            expression = re.sub(r"\$\w+", lambda match: values[match[0]], target["expr"])
            found.append((panel["title"], expression))
    return found


class Prometheus:
    """A temporary Prometheus on loopback."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=2):
                return True
        except OSError:
            return False

    def ask(self, expression: str) -> list[dict[str, Any]]:
        query = urllib.parse.urlencode({"query": expression})
        url = f"http://127.0.0.1:{self.port}/api/v1/query?{query}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found


@contextmanager
def prometheus(directory: Path, target: str) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes `target` every second, with the shipped rules."""
    labels = {"namespace": "n", "pod": "p"}
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [
            {
                "job_name": "finfocus-plugin-aws-public",
                "static_configs": [{"targets": [target], "labels": labels}],
            }
        ],
    }
    (directory / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    command = ["prometheus", f"--config.file={directory / 'prometheus.yml'}"]
    command += [f"--storage.tsdb.path={directory / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}"]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        server = Prometheus(port)
        wait_until(
            lambda: process.poll() is None and server.ready(),
            timeout=30,
            what="Prometheus is ready",
            explain=lambda: (directory / "log").read_text(errors="replace")[-2000:],
        )
        yield server
    finally:
        process.terminate()
        process.wait(20)


def call(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with closing(connection):
        connection.request("POST", NAME_PATH, "{}", {"Content-Type": "application/json"})
        return connection.getresponse().status


def test_fr_019_every_query_of_the_dashboard_has_an_answer(
    engine: Engine, image: BuiltImage, tmp_path: Path
) -> None:
    """FR-019: Prometheus reads a container; each panel and recorded series has numbers."""
    with ServedImage(image.reference) as container:
        ports = [container.get_exposed_port(region.port) for region in REGIONS]
        with prometheus(tmp_path, container.address(METRICS_PORT)) as server:
            recorded = [r["record"] for g in groups() for r in g["rules"] if "record" in r]
            wanted = [*queries(), *((name, name) for name in recorded)]
            missing: list[str] = []

            def answered() -> bool:
                for port in ports:
                    assert call(port) == 200
                missing[:] = [
                    f"{title}: {expression}"
                    for title, expression in wanted
                    if not any(s["value"][1] != "NaN" for s in server.ask(expression))
                ]
                return not missing

            wait_until(
                answered,
                timeout=40,
                interval=0.5,
                what="every query has an answer",
                explain=lambda: "\n".join(missing),
            )
            (ready,) = server.ask("sum(finfocus_region_up)")
            assert ready["value"][1] == str(len(REGIONS))
            assert server.ask("no_such_metric") == []
