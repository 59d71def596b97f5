"""The fault table, a test for each row: `nox -s tests` runs the quick rows, `nox -s faults` all."""

from __future__ import annotations

import pytest

from .conftest import FaultTable
from .row import Row
from .table import QUICK, TABLE

# The rows of price lists of the real size need another image: `nox -s faults -- --full-size`.
ROWS = [
    pytest.param(
        row,
        id=f"{row.requirement}-{row.name}",
        marks=[pytest.mark.faults, *([pytest.mark.quick] if row.name in QUICK else [])],
    )
    for row in TABLE
    if not row.full_size
]


@pytest.mark.parametrize("row", ROWS)
def test_promise_is_kept(fault_table: FaultTable, row: Row) -> None:
    """The container does what the row promises, with requests and logs on all regions."""
    outcome = fault_table.run(row)
    assert outcome.kept, outcome.check.detail


def test_rows_have_names_of_their_own() -> None:
    """No two rows have the same name, and the quick ones exist."""
    names = {row.name for row in TABLE}
    assert len(names) == len(TABLE)
    assert not QUICK - names
