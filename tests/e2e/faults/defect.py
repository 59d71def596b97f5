"""Defects of the image, each a patch file, and whether the rows of the fault table notice them.

A file of `defects/` begins with what is wrong, in a sentence, then has a line for each row that
must notice it, `Row: NAME: words of the problem it then has`, and then the patch of `image/`.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import CommandError, HarnessError
from harness.core.process import run
from harness.core.proof import MARKS, Status
from harness.core.recorder import Recorder
from harness.core.regions import IMAGE_DIRECTORY
from harness.engine.provision import Engine
from harness.report.check_table import Column, inline, render_table

from .row import run_row
from .table import TABLE

DIRECTORY = Path(__file__).parent / "defects"
ROWS = {row.name: row for row in TABLE}
SHOWN = 160
_ROW = re.compile(r"^Row: ([\w-]+): (.+)$", re.MULTILINE)
_FILE = re.compile(r"^\+\+\+ b/(\S+)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Defect:
    """A change of the image that takes a promise away."""

    path: Path  # the patch
    done: str  # what is wrong now, for people
    rows: Mapping[str, str]  # row that must notice it: words of the problem it then has
    files: tuple[str, ...]  # that it changes, in `image/`

    @property
    def name(self) -> str:
        """The name of its file."""
        return self.path.stem

    def apply(self, directory: Path) -> None:
        """Patch a copy of `image/`; `HarnessError` when it does not fit any more."""
        try:
            run(["git", "apply", "--whitespace=nowarn", str(self.path)], cwd=directory)
        except CommandError as error:
            raise HarnessError(
                f"defect {self.name} does not apply to image/ any more: make its patch again in"
                f" {self.path}: {error}"
            ) from error


def read_defect(path: Path) -> Defect:
    """The defect of a patch file; `HarnessError` when the file does not say enough."""
    text = path.read_text(encoding="utf-8")
    head, _, _ = text.partition("\n--- ")
    done = head.partition("\n")[0].rstrip(".")
    found = Defect(path=path, done=done, rows=dict(_ROW.findall(head)), files=_files(text))
    if not (found.done and found.rows and found.files):
        raise HarnessError(f"{path}: a sentence, `Row: NAME: words` and a patch are needed")
    return found


def _files(text: str) -> tuple[str, ...]:
    return tuple(_FILE.findall(text))


DEFECTS = tuple(read_defect(path) for path in sorted(DIRECTORY.glob("*.patch")))


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
def patched(defect: Defect) -> Iterator[Path]:
    """A copy of `image/` with the defect, for the time of the block."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(shutil.copytree(IMAGE_DIRECTORY, Path(name) / "image"))
        defect.apply(directory)
        yield directory


@contextmanager
def defective(engine: Engine, image: str, defect: Defect) -> Iterator[str]:
    """An image like `image` but for the defect, for the time of the block."""
    reference = f"finfocus-broken:{defect.name}"
    with patched(defect) as directory:
        copies = "".join(f"COPY {file} /opt/finfocus/{file}\n" for file in defect.files)
        (directory / "Dockerfile").write_text(f"FROM {image}\n{copies}", encoding="utf-8")
        for file in defect.files:
            path = directory / file
            path.chmod(path.stat().st_mode | 0o444)
        engine.client.images.build(path=str(directory), tag=reference, rm=True)
    try:
        yield reference
    finally:
        engine.client.images.remove(reference, force=True)


def examine(engine: Engine, image: str, defect: Defect) -> Iterator[Notice]:
    """Run the rows that must notice the defect."""
    with defective(engine, image, defect) as reference:
        for name in defect.rows:
            # Quiet: here a row that fails is what is wanted.
            outcome = run_row(engine.client, reference, ROWS[name], Recorder(quiet=True))
            yield Notice(defect=defect, row=name, problems=outcome.problems)


def as_markdown(notices: Sequence[Notice]) -> str:
    """The table of the defects."""
    noticed = sum(bool(notice.noticed) for notice in notices)
    return f"{noticed} of {len(notices)} noticed.\n\n{render_table(_COLUMNS, notices)}\n"


def _noticed_by(notice: Notice) -> str:
    found = " ".join(notice.noticed.split())[:SHOWN]
    return inline(found) or f"{MARKS[Status.FAILED]} nothing"


_COLUMNS = (
    Column[Notice](head="defect", cell=lambda notice: inline(notice.defect.done)),
    Column[Notice](head="row", cell=lambda notice: f"`{notice.row}`"),
    Column[Notice](head="noticed by", cell=_noticed_by),
)
