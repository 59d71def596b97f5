"""The whole fault table, in order."""

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
