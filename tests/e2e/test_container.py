"""Operating the container, beyond the acceptance run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from harness.core.errors import ContainerDiedError
from harness.core.regions import METRICS_PORT, load_regions
from harness.core.stages import BuiltImage
from harness.core.wait import wait_until
from harness.engine.container import Options, RunningContainer, created
from harness.engine.provision import Engine
from harness.verify import inside
from harness.verify.probe import status_of

REGIONS = load_regions()
PORTS = (*(region.port for region in REGIONS), METRICS_PORT)
NAMES = [region.name for region in REGIONS]


@contextmanager
def container_of(
    engine: Engine, image: BuiltImage, environ: Mapping[str, str], **extra: Any
) -> Iterator[RunningContainer]:
    options = Options(ports=PORTS, environ=environ, extra=extra)
    with created(engine.client, image.reference, NAMES, options) as container:
        container.start(PORTS)
        yield container


def await_all_ready(container: RunningContainer) -> None:
    wait_until(
        lambda: status_of(container, METRICS_PORT, "/readyz") == 200,
        timeout=15,
        what="readyz",
        explain=container.obituary if container.dead.is_set() else str,
    )


def get_json(container: RunningContainer, port: int, path: str) -> dict[str, Any]:
    """Return the JSON object in a response of any status; empty if there is none."""
    try:
        found: dict[str, Any] = requests.get(container.url(port, path), timeout=5).json()
    except (requests.RequestException, ValueError):
        return {}
    return found


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        pytest.param({"FINFOCUS_REGIONS": "mars"}, "mars", id="unknown-region"),
        pytest.param({"FINFOCUS_MAX_RESTARTS": "many"}, "many", id="not-a-number"),
        pytest.param({"FINFOCUS_STOP_SECONDS": "-1"}, "-1", id="negative"),
        pytest.param({"FINFOCUS_REGIONS": ","}, "no region", id="no-region"),
        pytest.param({"FINFOCUS_START_PARALLEL": "x"}, "PARALLEL is 'x'", id="parallel"),
    ],
)
def test_bad_setting_is_one_json_line_and_exit_64(
    engine: Engine, image: BuiltImage, environ: dict[str, str], words: str
) -> None:
    """An invalid setting exits with one JSON error line and code 64."""
    with container_of(engine, image, environ) as container:
        assert container.wait_dead(10)
        assert container.exit_code == 64
        assert container.log.lines == 1
        last = container.log.last
        assert last is not None
        assert json.loads(last.text)["level"] == "error"
        assert words in last.text


def test_subset_of_regions(engine: Engine, image: BuiltImage) -> None:
    """FINFOCUS_REGIONS runs only the named regions; readiness and health check only those."""
    with container_of(
        engine, image, {"FINFOCUS_REGIONS": "us-east-1,eu-west-1"}, init=True
    ) as container:
        await_all_ready(container)
        assert set(inside.plugins(container, REGIONS)) == {"us-east-1", "eu-west-1"}
        assert container.execute(["/opt/finfocus/healthcheck.sh"]) == (0, b"")
        assert status_of(container, METRICS_PORT, "/readyz/us-west-1") == 404
        container.signal("SIGTERM")
        assert container.wait_dead(5)
        assert container.exit_code == 0


def test_region_that_is_down_answers_503_that_names_it(engine: Engine, image: BuiltImage) -> None:
    """A region that never starts responds 503 with its name; another region serves."""
    environ = {"STANDIN_START_DELAY": "us-west-2=60s"}
    with container_of(engine, image, environ) as container:
        wait_until(
            lambda: get_json(container, METRICS_PORT, "/readyz").get("not_ready") == ["us-west-2"],
            timeout=10,
            what="us-west-2 is the only region that is not ready",
        )
        # The proxy's first health check aborts the request that is open at that moment.
        wait_until(
            lambda: (
                get_json(container, 8002, "/healthz")
                == {"error": "region is starting", "region": "us-west-2"}
            ),
            timeout=5,
            what="503 of us-west-2",
        )
        assert status_of(container, 8002, "/healthz") == 503
        assert status_of(container, 8001, "/healthz") == 200
        code, output = container.execute(["/opt/finfocus/healthcheck.sh"])
        assert (code, output.decode().strip()) == (1, "unhealthy: us-west-2")


def test_region_that_ignores_sigterm_is_killed_and_named(engine: Engine, image: BuiltImage) -> None:
    """SC-003 (exit 0 within 5 s) holds if a region ignores SIGTERM; the log names it."""
    with container_of(engine, image, {"STANDIN_IGNORE_SIGTERM": "sa-east-1=true"}) as container:
        await_all_ready(container)
        sent = container.signal("SIGTERM")
        assert container.wait_dead(8)
        assert container.exit_code == 0
        assert container.exit_time() - sent < 5
        killed = [line.text for line in container.log.kept()["sa-east-1"] if "killed" in line.text]
        assert killed


def test_fr_017_region_that_hangs_is_started_again(engine: Engine, image: BuiltImage) -> None:
    """FR-017 (bounded restarts): a region that fails its check for too long counts as failed."""
    with container_of(engine, image, {"FINFOCUS_UNHEALTHY_SECONDS": "1"}) as container:
        await_all_ready(container)
        before = inside.plugins(container, REGIONS)["eu-west-1"]
        inside.shell(container, f"kill -STOP {before}")
        wait_until(
            lambda: inside.plugins(container, REGIONS).get("eu-west-1", before) != before,
            timeout=15,
            what="eu-west-1 runs again",
        )
        await_all_ready(container)
        words = [line.text for line in container.log.kept()["eu-west-1"]]
        assert any("has failed its health check" in text for text in words)


def test_fr_017_region_that_cannot_start_ends_the_container(
    engine: Engine, image: BuiltImage
) -> None:
    """FR-017: a region that fails every start is tried four times, then all stop with exit 1."""
    with container_of(engine, image, {"STANDIN_CRASH_AT_START": "us-west-1=3"}) as container:
        assert container.wait_dead(15)
        assert container.exit_code == 1
        last = container.log.last
        assert last is not None
        fields = json.loads(last.text)
        assert (fields["region"], fields["level"]) == ("us-west-1", "error")
        starts = [
            line for line in container.log.kept()["us-west-1"] if "stand-in starting" in line.text
        ]
        assert len(starts) == 4, [line.text for line in container.log.kept()["us-west-1"]]


def test_early_death_is_told_within_a_second(engine: Engine, image: BuiltImage) -> None:
    """An unexpected exit is reported within a second, with code and last lines."""
    with container_of(engine, image, {}) as container:
        container.signal("SIGKILL")
        assert container.dead.wait(1)
        with pytest.raises(ContainerDiedError, match="exit code 137"):
            container.expect_alive()
