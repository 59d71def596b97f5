"""What a release has done so far, on disk, so that a killed one can be continued and a second
one of the same version cannot start.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.core.errors import TagConflictError, UsageError
from harness.core.files import write_whole
from harness.core.locks import exclusive
from harness.core.untrusted import UNREADABLE

RECORD = "release.json"
RECORD_VERSION = 1


class Record:
    """The record of one release in its output directory; every change is on disk at once."""

    def __init__(self, path: Path, content: dict[str, Any], *, written: bool = True) -> None:
        self.path = path
        self._written = written
        self._content = content

    @classmethod
    def new(
        cls,
        output: Path,
        version: str,
        repository: str,
        sources: Sequence[Path],
        *,
        written: bool = True,
    ) -> "Record":
        """An empty record, in place of a former one; not `written` for a plan only."""
        output.mkdir(parents=True, exist_ok=True)
        content = {
            "schema_version": RECORD_VERSION,
            "version": version,
            "repository": repository,
            "sources": [str(source.resolve()) for source in sources],
            "uploads": {},
            "steps": {},
        }
        record = cls(output / RECORD, content, written=written)
        record._write()
        return record

    @classmethod
    def load(cls, output: Path, version: str, repository: str) -> "Record":
        """The record of a release to be continued; `UsageError` when there is none like it."""
        path = output / RECORD
        try:
            content = json.loads(path.read_bytes())
            found = (content["schema_version"], content["version"], content["repository"])
        except (OSError, *UNREADABLE):
            raise UsageError(
                f"{path} has no release to resume: start one without --resume"
            ) from None
        if found != (RECORD_VERSION, version, repository):
            raise UsageError(
                f"{path} is of {found[1]} to {found[2]}, not of {version} to {repository}:"
                " start without --resume or give its --output"
            )
        return cls(path, content)

    @property
    def sources(self) -> tuple[Path, ...]:
        """The sealed images that the release was started with."""
        return tuple(Path(source) for source in self._content["sources"])

    @property
    def steps(self) -> dict[str, str]:
        """What was done, with its digest."""
        return dict(self._content["steps"])

    def done(self, step: str, digest: str) -> None:
        """`step` is done; its result has `digest`."""
        self._content["steps"][step] = digest
        self._write()

    def location(self, digest: str) -> str:
        """See `harness.registry.UploadNotes`."""
        return str(self._content["uploads"].get(digest, ""))

    def note(self, digest: str, location: str) -> None:
        """See `harness.registry.UploadNotes`."""
        self._content["uploads"].pop(digest, None)
        if location:
            self._content["uploads"][digest] = location
        self._write()

    def _write(self) -> None:
        if self._written:
            write_whole(self.path, json.dumps(self._content, indent=2) + "\n")


@contextmanager
def only_release(version: str, target: str, output: Path) -> Iterator[None]:
    """Nobody else on this machine releases `version` to `target`, or uses `output`, meanwhile.

    Raises `TagConflictError` at once when somebody does. The locks end with their process, however
    that ends. Between machines the workflow's concurrency group does the same, and the version's
    tag is compared once more right before it is set.
    """
    busy = TagConflictError(
        f"{version} is being released to {target} by another run on this machine: wait until it"
        " has ended"
    )
    taken = TagConflictError(
        f"{output} is used by another release on this machine: wait until it has ended, or give"
        " --output"
    )
    with (
        exclusive(f"{target} {version}", taken=busy),
        exclusive(str(output.resolve()), taken=taken),
    ):
        yield
