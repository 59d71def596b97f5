"""The fault table notices defects; `nox -s faults -- --defects` shows it of all of them."""

from __future__ import annotations

import pytest

from harness.core.stages import BuiltImage
from harness.engine.provision import Engine

from .defect import DEFECTS, Defect, examine

QUICK = [d for d in DEFECTS if d.name in {"ends-with-0", "hup-ends-it"}]


@pytest.mark.parametrize("defect", QUICK, ids=lambda defect: defect.name)
def test_defect_is_noticed(engine: Engine, image: BuiltImage, defect: Defect) -> None:
    """A row on an image with the defect is not as promised, and says so in fitting words."""
    if not image.release.stand_in:
        pytest.skip("only a stand-in plugin numbers its log lines and can be told to fail")
    for notice in examine(engine, image.reference, defect):
        assert notice.noticed, f"{notice.row}: {notice.problems}"
