"""The whole fault table, in order, and its quick rows."""

from __future__ import annotations

from . import (
    rows_calls,
    rows_limits,
    rows_load,
    rows_memory,
    rows_parts,
    rows_regions,
    rows_requests,
    rows_resources,
    rows_signals,
    rows_start,
    rows_streams,
    rows_supervisor,
)

TABLE = tuple(
    row
    for part in (
        rows_regions,
        rows_start,
        rows_resources,
        rows_parts,
        rows_supervisor,
        rows_signals,
        rows_limits,
        rows_memory,
        rows_streams,
        rows_load,
        rows_requests,
        rows_calls,
    )
    for row in part.rows()
)

QUICK = frozenset(
    {
        "region-kill-9-one",
        "region-stop-one",
        "region-crash-loop-all",
        "region-grandchild-keeps-output",
        "start-told",
        "start-port-variable",
        "proxy-kill-9",
        "log-writer-kill-9",
        "log-writer-stopped-then-term",
        "log-writer-kill-during-stop",
        "supervisor-not-woken",
        "supervisor-events-flooded-term",
        "supervisor-terms-lost",
        "signal-term-at-once",
        "signal-int-backoff",
        "signal-term-burst",
        "signal-usr2-with-init",
        "processes-exhausted-term",
        "files-256",
        "shm-full-at-start",
        "shm-full-log-writer-kill-9",
        "clock-stepped-back",
        "memory-told",
        "stdout-blocked-3-s",
        "stdout-blocked-term",
        "requests-idle-connections",
        "requests-smuggling",
        "requests-deadline",
        "requests-asked-at-stop",
        "requests-endless-streams-at-stop",
    }
)
"""Names of the rows of the default test run: one row for each way of failing.

The others repeat it with another signal, moment or number of regions, or concern only HAProxy.
"""
