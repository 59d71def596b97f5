"""Prometheus's own parsers read the metrics, whatever labels and plugins contain."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.on_host import on_host, why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

VERSIONS = ['v1"} 5\nx{a="', "back\\slash\\", "tab\t\x01 ünï", ""]


@pytest.mark.parametrize(
    "version", VERSIONS, ids=["quote-newline", "backslash", "control", "empty"]
)
def test_fr_019_metrics_are_parseable_whatever_the_version(tmp_path: Path, version: str) -> None:
    """FR-019 (Prometheus metrics): the version label survives, and promtool reports no problem."""
    with on_host(tmp_path, FINFOCUS_IMAGE_VERSION=version) as running:
        running.await_ready()
        text = httpx.get(f"http://127.0.0.1:{running.metrics_port}/metrics", timeout=5).text
        assert running.stop() == 0
    families = {family.name: family for family in text_string_to_metric_families(text)}
    (info,) = families["finfocus_build_info"].samples[:1]
    assert info.labels["version"] == version
    for family in families.values():
        assert family.samples, family.name
    if promtool := shutil.which("promtool"):
        done = subprocess.run(
            [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr + done.stdout
