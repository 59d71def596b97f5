"""Check image/metrics.lua: for any input, Prometheus's own parser can read its output."""

from __future__ import annotations

import json
import math
import re

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.fuzz.lua import LuaProgram
from tests.fuzz.targets.target import Target, parts_of

REGIONS = ["us-east-1", "eu-west-1"]
_metrics = LuaProgram("metrics.lua", "metrics.lua")


def run(data: bytes) -> None:
    """Seven parts: version, three state files, a path, durations, and whether all is healthy."""
    version, stats, process, pid, path, durations, healthy = parts_of(data, 7)
    text, ready, ready_body, live, live_body = _metrics.run(
        version, stats, process, pid, path, durations, healthy == b"1"
    )
    samples = samples_of(text)
    wanted = version if valid(version) else re.sub(rb"[\x80-\xff]", b"?", version)
    for region in REGIONS:
        (info,) = (
            s for s in samples["finfocus_build_info"] if s.labels["finfocus_region"] == region
        )
        assert info.labels["version"] == wanted.decode(), info
        counted = {name: lines for name, lines, _ in re.findall(rb"(\S+) (\d+) (\d+)", stats)}
        (logged,) = of_region(samples["finfocus_region_log_lines_total"], region)
        assert logged.value == float(counted.get(region.encode(), 0))
        assert of_region(samples["finfocus_region_up"], region)[0].value == (healthy == b"1")
    check_histogram(
        of_region(samples["finfocus_region_request_duration_seconds_bucket"], REGIONS[0])
    )
    (count,) = of_region(samples["finfocus_region_request_duration_seconds_count"], REGIONS[0])
    assert count.value == len(durations)
    calls = of_region(samples["finfocus_region_rpcs_total"], REGIONS[0])
    assert all(re.fullmatch(r"[a-z_]{2,19}", sample.labels["code"]) for sample in calls)
    assert len(calls) <= 3
    assert sum(sample.value for sample in calls) == len(durations)
    assert ready in {200, 404, 503} and isinstance(json.loads(ready_body), dict)
    assert live in {200, 503} and isinstance(json.loads(live_body), dict)
    assert live == (200 if json.loads(live_body)["live"] else 503)


def rendered(data: bytes) -> bytes:
    """Return the text of /metrics for an input."""
    *arguments, healthy = parts_of(data, 7)
    return bytes(_metrics.run(*arguments, healthy == b"1")[0])


def samples_of(text: bytes) -> dict[str, list[Sample]]:
    """Return every sample by name; no value is missing, duplicated or not a number."""
    found: dict[str, list[Sample]] = {}
    seen = set()
    for family in text_string_to_metric_families(text.decode("utf-8")):
        for sample in family.samples:
            key = (sample.name, *sorted(sample.labels.items()))
            assert key not in seen, f"{key} appears twice"
            seen.add(key)
            assert not math.isnan(sample.value), sample
            found.setdefault(sample.name, []).append(sample)
    return found


def of_region(samples: list[Sample], region: str) -> list[Sample]:
    """Return the samples of one region."""
    return [sample for sample in samples if sample.labels["finfocus_region"] == region]


def check_histogram(buckets: list[Sample]) -> None:
    """Check that the buckets are cumulative and the last one counts everything."""
    values = [bucket.value for bucket in buckets]
    assert values == sorted(values)
    assert buckets[-1].labels["le"] == "+Inf"


def valid(text: bytes) -> bool:
    """Return whether `data` is UTF-8."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


TARGET = Target(
    name="metrics",
    run=run,
    words=(
        *(b"\0", b'"', b"\\", b"\n", b'"} 1\n', b"us-east-1 1 2\n", b"eu-west-1 ", b"12 3 17.5"),
        *(
            b"/readyz/us-east-1",
            b"/readyz/mars",
            b"\xff",
            b"\xc3\xa9",
            b"99999999999999999999",
            b".",
        ),
    ),
    longest=300,
)
