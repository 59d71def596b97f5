"""The progress of a release on disk, to resume it, and locks against a concurrent release."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.core.decode import member
from harness.core.errors import TagConflictError, UsageError
from harness.core.files import write_whole
from harness.core.locks import exclusive
from harness.core.untrusted import MALFORMED

RECORD = "release.json"
RECORD_VERSION = 1


class Record:
    """The record of one release in its output directory; every change is written immediately."""

    def __init__(
        self,
        path: Path,
        content: dict[str, Any],
        *,
        written: bool = True,
        resumed: bool = False,
    ) -> None:
        self.path = path
        self.resumed = resumed  # whether an earlier run wrote it
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
        """Create an empty record, replacing any earlier one; not `written` for a dry run."""
        output.mkdir(parents=True, exist_ok=True)
        content = {
            "schema_version": RECORD_VERSION,
            "version": version,
            "repository": repository,
            "sources": [str(source.resolve()) for source in sources],
            "steps": {},
        }
        record = cls(output / RECORD, content, written=written)
        record._write()
        return record

    @classmethod
    def load(cls, output: Path, version: str, repository: str) -> "Record":
        """Load the record of a release to resume; raise `UsageError` if none matches."""
        path = output / RECORD
        try:
            content = json.loads(path.read_bytes())
            found = (
                member(content, int, "schema_version"),
                member(content, str, "version"),
                member(content, str, "repository"),
            )
        except (OSError, *MALFORMED):
            raise UsageError(
                f"no release to resume in {path}: start one without --resume"
            ) from None
        if found != (RECORD_VERSION, version, repository):
            raise UsageError(
                f"{path} is for {found[1]} to {found[2]}, not {version} to {repository}:"
                " start without --resume, or set --output to the directory of that release"
            )
        return cls(path, content, resumed=True)

    @property
    def sources(self) -> tuple[Path, ...]:
        """The sealed images that the release was started with."""
        return tuple(Path(source) for source in self._content["sources"])

    @property
    def steps(self) -> dict[str, str]:
        """The completed steps, each with a digest."""
        return dict(self._content["steps"])

    def done(self, step: str, digest: str) -> None:
        """Record that `step` is complete and its result has `digest`."""
        self._content["steps"][step] = digest
        self._write()

    def _write(self) -> None:
        if self._written:
            write_whole(self.path, json.dumps(self._content, indent=2) + "\n")


@contextmanager
def only_release(version: str, target: str, output: Path) -> Iterator[None]:
    """Lock out other releases of `version` to `target`, or to `output`, on this machine.

    Raises `TagConflictError` immediately if another holds a lock. The locks end with their
    process. Between machines, the workflow's concurrency group has the same effect, and the
    version's tag is compared again right before it is set.
    """
    busy = TagConflictError(
        f"another run on this machine is releasing {version} to {target}: wait for it to finish"
    )
    taken = TagConflictError(
        f"another release on this machine is using {output}: wait for it to finish, or choose"
        " another --output"
    )
    with (
        exclusive(f"{target} {version}", taken=busy),
        exclusive(str(output.resolve()), taken=taken),
    ):
        yield
