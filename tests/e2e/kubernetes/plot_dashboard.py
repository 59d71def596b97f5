"""Draw docs/dashboard.png from the dashboard's queries, answered by a real Prometheus.

`python -m tests.e2e.kubernetes.plot_dashboard IMAGE`: a container serves requests for a minute,
during which one region is killed. Needs matplotlib (`pip install .[bench]`).
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
import urllib.parse
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import requests

from harness.core.regions import METRICS_PORT, REPOSITORY
from harness.core.temporary import temporary_directory
from harness.core.wait import wait_until
from harness.engine.container import Options, RunningContainer, running
from harness.engine.provision import container_engine
from harness.verify import inside
from harness.verify.probe import status_of
from tests.e2e.kubernetes.test_monitoring import DASHBOARD, PORTS, REGIONS, Prometheus, prometheus

WATCHED_SECONDS = 60
CALLS = (
    "/finfocus.v1.CostSourceService/Name",
    "/finfocus.v1.CostSourceService/GetPluginInfo",
    "/grpc.health.v1.Health/Check",
)
_VALUES = {"$namespace": ".*", "$region": ".*", "$__rate_interval": "10s"}


def _serve(container: RunningContainer, stop: threading.Event) -> None:
    """Send requests and calls to every region in turn, mostly to the first."""
    turn = 0
    while not stop.wait(0.01):
        for index, region in enumerate(REGIONS):
            if turn % (index + 1) == 0:
                status_of(container, region.port, "/healthz")
                url = container.url(region.port, CALLS[turn % len(CALLS)])
                with suppress(requests.RequestException):
                    requests.post(url, json={}, timeout=2)
        turn += 1


def _range(server: Prometheus, expression: str, since: float) -> list[dict[str, Any]]:
    query = urllib.parse.urlencode(
        {"query": expression, "start": since, "end": time.time(), "step": "1"}
    )
    url = f"http://127.0.0.1:{server.port}/api/v1/query_range?{query}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    return found


def _legend(template: str, labels: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match[1], ""), template)


def _watch_until(moment: float) -> None:
    limit = WATCHED_SECONDS + 10
    wait_until(lambda: time.time() > moment, timeout=limit, interval=0.5, what="it was watched")


def _draw(server: Prometheus, since: float, path: Path) -> None:
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    figure, axes = plt.subplots(-(-len(panels) // 3), 3, figsize=(18, 3 * -(-len(panels) // 3)))
    for axis, panel in zip(axes.flat, panels, strict=False):
        axis.set_title(f"{panel['title']} ({panel['fieldConfig']['defaults']['unit']})", fontsize=9)
        for target in panel["targets"]:
            expression = re.sub(r"\$\w+", lambda match: _VALUES[match[0]], target["expr"])
            for series in _range(server, expression, since):
                label = _legend(target["legendFormat"], series["metric"])
                points = [(float(at) - since, float(value)) for at, value in series["values"]]
                axis.plot(*zip(*points, strict=True), label=label, linewidth=1)
        axis.tick_params(labelsize=7)
        axis.legend(fontsize=5, ncol=3, loc="upper left")
    for axis in list(axes.flat)[len(panels) :]:
        axis.set_axis_off()
    figure.supxlabel("seconds; us-west-2 was killed at 30 s", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=70)


def main() -> None:
    """Draw the picture for the image named on the command line."""
    names = [region.name for region in REGIONS]
    with (
        container_engine() as engine,
        running(engine.client, sys.argv[1], names, Options(ports=PORTS)) as container,
        temporary_directory("dashboard") as directory,
        prometheus(directory, f"127.0.0.1:{container.host_ports[METRICS_PORT]}") as server,
    ):
        since, stop = time.time(), threading.Event()
        load = threading.Thread(target=_serve, args=(container, stop))
        load.start()
        try:
            _watch_until(since + WATCHED_SECONDS / 2)
            victim = inside.plugins(container, REGIONS)[names[1]]
            inside.shell(container, f"kill -KILL {victim}")
            _watch_until(since + WATCHED_SECONDS)
        finally:
            stop.set()
            load.join()
        _draw(server, since, REPOSITORY / "docs" / "dashboard.png")


if __name__ == "__main__":
    main()
