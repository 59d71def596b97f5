"""The results of the client that sends requests inside the cluster."""

from __future__ import annotations

import json

from harness.kubernetes.in_cluster_load import WAYS, read_load


def totals(**changed: int) -> str:
    usual = {"answered": 1200, "failed": 0, "connections": 24}
    return json.dumps({way: {**usual, **(changed if way == "grpc" else {})} for way in WAYS})


def test_last_totals_count() -> None:
    """Totals grow; a line that is cut off or not JSON is ignored."""
    found = read_load([totals(answered=3), "bash: warning", totals(), '{"new": {"answ'])
    assert found.answered == dict.fromkeys(WAYS, 1200)
    assert (found.least, found.failed, found.failures) == (1200, 0, ())
    assert found.text().startswith("new 1200 on 24 connections, kept 1200")


def test_the_way_with_the_fewest_requests_decides() -> None:
    """1,000 requests must be answered in each way, not in all ways together."""
    assert read_load([totals(answered=999)]).least == 999
    assert read_load([]).least == 0
    assert (
        read_load([json.dumps({"new": {"answered": 1, "failed": 0, "connections": 1}})]).least == 0
    )


def test_failures_are_named_and_counted() -> None:
    """The client prints the first failures only, and counts all of them."""
    failure = json.dumps({"failed": "grpc 10.96.0.9:8001: Unavailable"})
    found = read_load([failure, totals(failed=300)])
    assert found.failures == ("grpc 10.96.0.9:8001: Unavailable",)
    assert found.failed == 300
    assert read_load([totals(), failure]).failed == 1
