"""Compare requests through the front proxy with requests directly to the plugin."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from harness.core.errors import HarnessError
from harness.core.process import ensure_tools, run
from harness.core.regions import METRICS_PORT, PLUGIN_PORT_OFFSET
from harness.core.temporary import temporary_directory
from harness.core.wait import wait_until
from harness.engine.container import Options, created
from harness.verify.probe import get_status
from harness.verify.service_checks import NAME_PATH
from harness.verify.target import Target

from .measure import Measure, alternate, measure, median

ROUNDS = 3
SECONDS = 3
CONNECTIONS = 12
_CALL = """
wrk.method = "POST"
wrk.body = "{}"
wrk.headers["Content-Type"] = "application/json"
"""
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


class Answers(NamedTuple):
    """The results of wrk; times are in milliseconds."""

    per_second: float
    p50: float
    p99: float


def measure_front(target: Target) -> Iterator[Measure]:
    """Yield rows for requests per second and latency, through the proxy and direct.

    The container uses the host's network: the plugin's own port is not reachable otherwise.
    """
    ensure_tools({"wrk": "wrk"}, wanted_for="the benchmark of the front proxy")
    options = Options(extra={"network_mode": "host"})
    with (
        created(target.client, target.reference, target.names, options) as container,
        temporary_directory("bench") as directory,
    ):
        container.start(())
        wait_until(
            lambda: container.dead.is_set() or get_status(METRICS_PORT, "/readyz") == 200,
            timeout=30,
            what="the container on the host's network is ready",
            explain=lambda: "\n".join(container.tail_text()),
        )
        container.expect_alive()
        script = directory / "call.lua"
        script.write_text(_CALL, encoding="utf-8")
        port = target.regions[0].port
        front, direct = _both(port, script)
    yield _row("requests per second through the front", "req/s", *_column(front, direct, 0))
    yield _row("latency through the front, median", "ms", *_column(front, direct, 1))
    yield _row("latency through the front, 99th percentile", "ms", *_column(front, direct, 2))


def _column(
    front: list[Answers], direct: list[Answers], index: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return tuple(answers[index] for answers in front), tuple(answers[index] for answers in direct)


def _row(name: str, unit: str, front: tuple[float, ...], direct: tuple[float, ...]) -> Measure:
    beside = {"direct": median(direct)}
    return measure(
        group="front", name=name, value=median(front), unit=unit, beside=beside, runs=front
    )


def _both(port: int, script: Path) -> tuple[list[Answers], list[Answers]]:
    front: list[Answers] = []
    direct: list[Answers] = []

    def load(target_port: int, into: list[Answers]) -> float:
        into.append(_load(f"http://127.0.0.1:{target_port}{NAME_PATH}", script))
        return into[-1].per_second

    alternate(
        ROUNDS,
        lambda: load(port, front),
        lambda: load(port + PLUGIN_PORT_OFFSET, direct),
    )
    return front, direct


def _load(url: str, script: Path) -> Answers:
    """Run wrk once (https://github.com/wg/wrk) and read its report."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--latency", "-s", str(script)]
    text = run([*command, url])
    if match := re.search(r"Non-2xx or 3xx responses: (\d+)", text):
        raise HarnessError(f"{match[1]} requests to {url} failed: run `harness verify` to diagnose")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    times = dict(re.findall(r"^\s+(50|99)%\s+([\d.]+[a-z]+)", text, re.MULTILINE))
    if rate is None or set(times) != {"50", "99"}:
        raise HarnessError(f"wrk reported no result for {url}:\n{text}")
    return Answers(
        per_second=float(rate[1]), p50=_milliseconds(times["50"]), p99=_milliseconds(times["99"])
    )


def _milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)([a-z]+)", text).groups()  # type: ignore[union-attr]
    return float(number) * _UNITS[unit]
