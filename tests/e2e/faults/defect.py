"""One defect of the image, and whether the rows of the fault table notice it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.engine import Engine
from harness.errors import HarnessError
from harness.regions import IMAGE_DIRECTORY

from .row import run_row
from .table import TABLE

ROWS = {row.name: row for row in TABLE}
HEAD = "| defect | row | noticed by |\n|---|---|---|"
SHOWN = 160


@dataclass(frozen=True, kw_only=True)
class Defect:
    """A change of one file of the image that takes a promise away."""

    name: str
    done: str  # what is wrong now, for people
    file: str  # in `image/`
    old: str  # stands in the file exactly once
    new: str
    rows: Mapping[str, str]  # row that must notice it: words of the problem it then has

    def edited(self) -> str:
        """The file with the defect; raises when there is nothing to change any more."""
        text = (IMAGE_DIRECTORY / self.file).read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise HarnessError(
                f"defect {self.name}: {self.old!r} stands {text.count(self.old)} times in"
                f" {self.file}: mend the defect"
            )
        return text.replace(self.old, self.new)


@dataclass(frozen=True, kw_only=True)
class Notice:
    """What a row made of a defect."""

    defect: Defect
    row: str
    problems: tuple[str, ...]

    @property
    def noticed(self) -> str:
        """The problem that tells of the defect, "" when none does."""
        words = self.defect.rows[self.row]
        return next((problem for problem in self.problems if words in problem), "")


@contextmanager
def defective(engine: Engine, image: str, defect: Defect) -> Iterator[str]:
    """An image like `image` but for the defect, for the time of the block."""
    reference = f"finfocus-broken:{defect.name}"
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        path = directory / "file"
        path.write_text(defect.edited(), encoding="utf-8")
        shutil.copymode(IMAGE_DIRECTORY / defect.file, path)
        path.chmod(path.stat().st_mode | 0o444)
        (directory / "Dockerfile").write_text(
            f"FROM {image}\nCOPY file /opt/finfocus/{defect.file}\n", encoding="utf-8"
        )
        engine.client.images.build(path=name, tag=reference, rm=True)
    try:
        yield reference
    finally:
        engine.client.images.remove(reference, force=True)


def examine(engine: Engine, image: str, defect: Defect) -> Iterator[Notice]:
    """Run the rows that must notice the defect."""
    with defective(engine, image, defect) as reference:
        for name in defect.rows:
            outcome = run_row(engine.client, reference, ROWS[name])
            yield Notice(defect=defect, row=name, problems=tuple(outcome.problems))


def as_markdown(notices: Sequence[Notice]) -> str:
    """The table of the defects."""
    noticed = sum(bool(notice.noticed) for notice in notices)
    lines = [f"{noticed} of {len(notices)} noticed.", "", HEAD]
    for notice in notices:
        found = " ".join(notice.noticed.split())[:SHOWN].replace("|", "\\|")
        cells = (notice.defect.done, f"`{notice.row}`", found or "✗ nothing")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])
