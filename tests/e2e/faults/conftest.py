"""Collects the outcomes of the fault table's rows, and reports them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.core.recorder import Recorder
from harness.core.stages import BuiltImage
from harness.engine.provision import Engine

from .report import Run, write_report
from .row import Outcome, Row, run_row


class FaultTable:
    """Runs rows on one image and keeps their outcomes."""

    def __init__(self, engine: Engine, image: BuiltImage) -> None:
        self.outcomes: list[Outcome] = []
        self._engine, self._image, self._recorder = engine, image, Recorder()

    def run(self, row: Row) -> Outcome:
        """Run one row."""
        outcome = run_row(self._engine.client, self._image.reference, row, self._recorder)
        self.outcomes.append(outcome)
        return outcome

    def report(self, directory: Path) -> None:
        """Write `faults.json` and `faults.md` with the rows that were run, if there are any."""
        if self.outcomes:
            write_report(self._engine, self._image, [Run(outcomes=self.outcomes)], directory)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that `nox -s faults` uses."""
    parser.addoption(
        "--fault-report",
        type=Path,
        metavar="DIRECTORY",
        help="write the outcomes of the fault table's rows to DIRECTORY",
    )


@pytest.fixture(scope="session")
def fault_table(
    request: pytest.FixtureRequest, engine: Engine, image: BuiltImage
) -> Iterator[FaultTable]:
    """The table, reported at the end of the run, also of one that was interrupted."""
    if not image.release.stand_in:
        pytest.skip("only a stand-in plugin numbers its log lines and can be told to fail")
    table = FaultTable(engine, image)
    yield table
    if directory := request.config.getoption("fault_report", default=None):
        table.report(directory)
