"""The defects that the fault table must notice still change what they are meant to change."""

from __future__ import annotations

import subprocess

import pytest

from tests.e2e.faults.defect import ROWS, Defect
from tests.e2e.faults.defects import DEFECTS


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_defect_changes_the_image(defect: Defect) -> None:
    """What it replaces stands in the file once, and the rows that must notice it are there."""
    text = defect.edited()
    assert defect.rows.keys() <= ROWS.keys()
    if defect.file.endswith(".sh"):
        subprocess.run(["bash", "-n"], input=text, text=True, check=True)
