"""Check that the lock file has every dependency, at an allowed version and with digests.

`python -m tests.lock` needs no network: `nox -s lock` is what resolves and downloads.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from harness.core.regions import REPOSITORY

PROJECT = REPOSITORY / "pyproject.toml"
LOCK = REPOSITORY / "requirements" / "release.txt"
ALSO = ("nox",)
"""What the workflows need besides the dependencies of the harness."""

_DIGEST = re.compile(r"--hash=sha256:[0-9a-f]{64}\b")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One package of the lock file."""

    requirement: Requirement
    digests: int

    @property
    def version(self) -> str:
        """The pinned version; "" if the entry allows several."""
        pins = list(self.requirement.specifier)
        return pins[0].version if len(pins) == 1 and pins[0].operator == "==" else ""


def entries(lock: str) -> Mapping[str, Entry]:
    """Read a lock file in pip's format; raises `InvalidRequirement` for anything else.

    https://pip.pypa.io/en/stable/reference/requirements-file-format/
    """
    lines = (line for line in lock.splitlines() if not line.lstrip().startswith("#"))
    found: dict[str, Entry] = {}
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if not line.strip():
            continue
        requirement = Requirement(line.partition("--hash=")[0].strip())
        entry = Entry(requirement=requirement, digests=len(_DIGEST.findall(line)))
        found[canonicalize_name(requirement.name)] = entry
    return found


def problems(project: str, lock: str) -> list[str]:
    """Compare the texts of pyproject.toml and the lock file; one sentence for each difference."""
    wanted = [Requirement(text) for text in tomllib.loads(project)["project"]["dependencies"]]
    try:
        locked = entries(lock)
    except InvalidRequirement as error:
        return [f"the lock file has an invalid line: {error}"]
    found = []
    for requirement in [*wanted, *map(Requirement, ALSO)]:
        entry = locked.get(canonicalize_name(requirement.name))
        if entry is None:
            found.append(f"{requirement.name} is not in the lock file")
        elif entry.version and not requirement.specifier.contains(entry.version):
            found.append(f"{requirement.name} {entry.version} is locked, allowed is {requirement}")
    for name, entry in locked.items():
        if not entry.version:
            found.append(f"{name} is not pinned to one version")
        if not entry.digests:
            found.append(f"{name} has no digest")
    return found


def main() -> int:
    """Print every problem; return 1 if there is one."""
    found = problems(PROJECT.read_text(encoding="utf-8"), LOCK.read_text(encoding="utf-8"))
    for words in found:
        print(f"{LOCK.relative_to(REPOSITORY)}: {words}")
    if found:
        print("run: nox -s lock")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
