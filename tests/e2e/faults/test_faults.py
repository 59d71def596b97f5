"""The quick rows of the fault table; `nox -s faults` runs all of them."""

from __future__ import annotations

import pytest

from harness.core.stages import BuiltImage
from harness.engine.provision import Engine

from .row import Row, run_row
from .table import TABLE

FAST = [row for row in TABLE if row.fast]


@pytest.mark.parametrize("row", FAST, ids=[f"{row.requirement}-{row.name}" for row in FAST])
def test_promise_is_kept(engine: Engine, image: BuiltImage, row: Row) -> None:
    """The container does what the row promises, with requests and logs on all regions."""
    if not image.release.stand_in:
        pytest.skip("only a stand-in plugin numbers its log lines and can be told to fail")
    outcome = run_row(engine.client, image.reference, row)
    assert outcome.kept, "\n".join([*outcome.problems, *outcome.notes])


def test_rows_have_names_of_their_own() -> None:
    """No two rows have the same name."""
    assert len({row.name for row in TABLE}) == len(TABLE)
