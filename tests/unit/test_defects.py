"""The defects that the fault table must detect still change what they should."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.core.regions import IMAGE_DIRECTORY
from tests.e2e.faults.defect import DEFECTS, ROWS, Defect, patched, read_defect

LUA = shutil.which("lua5.3")


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_defect_changes_the_image(defect: Defect) -> None:
    """Its patch applies, the patched files parse, and its rows exist."""
    assert defect.rows.keys() <= ROWS.keys()
    with patched(defect) as directory:
        for file in defect.files:
            path = directory / file
            assert path.read_bytes() != (IMAGE_DIRECTORY / file).read_bytes()
            if path.suffix == ".sh":
                subprocess.run(["bash", "-n", path], check=True)
            elif path.suffix == ".lua" and LUA:
                subprocess.run([LUA, "-e", f"assert(loadfile('{path}'))"], check=True)


def test_defect_that_does_not_apply_is_told(tmp_path: Path) -> None:
    """A patch that does not match the image is an error with the defect's name and file."""
    path = tmp_path / "old.patch"
    path.write_text(
        "A part is gone.\n\nRow: region-kill-9-one: no answer\n\n"
        "--- a/regions\n+++ b/regions\n@@ -1,1 +1,1 @@\n-mars 1\n+mars 2\n"
    )
    told = pytest.raises(HarnessError, match=r"defect old does not apply .*old\.patch")
    with told, patched(read_defect(path)):
        pytest.fail("it applies")


@pytest.mark.parametrize("missing", ["sentence", "row", "patch"])
def test_defect_file_says_what_row_and_patch(tmp_path: Path, missing: str) -> None:
    """A file without a sentence, rows or a patch is rejected."""
    parts = {
        "sentence": "A part is gone.",
        "row": "\nRow: region-kill-9-one: no answer\n",
        "patch": "--- a/regions\n+++ b/regions\n",
    }
    path = tmp_path / "defect.patch"
    path.write_text("\n".join("" if name == missing else part for name, part in parts.items()))
    with pytest.raises(HarnessError, match="are needed"):
        read_defect(path)
