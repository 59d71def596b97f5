"""Trivy itself: the one on PATH, or the pinned version compiled from its Go module."""

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core.console import warn
from harness.core.errors import CommandError, ScanImpossibleError
from harness.core.go_tools import GoTool
from harness.core.process import run

PINNED = "0.74.0"
OLDEST = (0, 70)
"""First minor version that is accepted; what is read of its report is there since then."""

REMEDY = f"install Trivy {PINNED}, or Go to compile it: https://go.dev/dl/"
INSTALL = "https://trivy.dev/latest/getting-started/installation/"
_MODULE = "github.com/aquasecurity/trivy"
# With the settings of Trivy's own goreleaser.yml.
_TOOL = GoTool(
    package=f"{_MODULE}/cmd/trivy",
    version=PINNED,
    takes="minutes",
    ldflags=f"-s -w -X {_MODULE}/pkg/version/app.ver={PINNED}",
    environ={"GOEXPERIMENT": "jsonv2"},
)
_VERSION = re.compile(r"^Version: v?(\d+)\.(\d+)\.(\d+)", re.MULTILINE)
_SCAN_SECONDS = 3600
# What may reach Trivy of its own settings: access to a private database. A severity, an ignore file
# or a skipped directory in the environment would weaken the gate without a trace.
_KEPT = {"TRIVY_USERNAME", "TRIVY_PASSWORD", "TRIVY_REGISTRY_TOKEN"}


@dataclass(frozen=True, kw_only=True)
class Trivy:
    """A Trivy that works."""

    path: Path
    version: str  # "0.74.0"
    provisioned: bool  # compiled by the harness

    def run(self, arguments: Sequence[str], *, cache: Path, directory: Path) -> str:
        """Run Trivy in `directory`, on the cache directory `cache`, and return what it prints.

        `directory` is the harness's own, and Trivy's variables of the environment are unset: no
        `trivy.yaml`, `.trivyignore` or `TRIVY_SEVERITY` that happens to be there weakens the gate.
        Raises `CommandError`.
        """
        common = ["--cache-dir", str(cache.resolve()), "--timeout", f"{_SCAN_SECONDS}s"]
        return run(
            [str(self.path), *common, *arguments],
            timeout=_SCAN_SECONDS + 60,
            environ=blanked(os.environ),
            cwd=directory,
        )


def blanked(environ: Mapping[str, str]) -> dict[str, str]:
    """Empty values for Trivy's own settings in `environ`, which Trivy takes for unset."""
    settings = (name for name in environ if name.startswith("TRIVY_") and name not in _KEPT)
    return dict.fromkeys(settings, "")


def find_trivy() -> Trivy:
    """The Trivy on PATH when its version is accepted, else the pinned one, compiled once.

    Raises `ScanImpossibleError` with what to do when there is neither Trivy nor Go.
    """
    if there := shutil.which("trivy"):
        version = version_of(Path(there))
        if accepted(version):
            return Trivy(path=Path(there), version=version, provisioned=False)
        warn(f"{refusal(there, version)}: the pinned {PINNED} is used")
    program = _provided()
    return Trivy(path=program, version=version_of(program), provisioned=True)


def describe() -> tuple[str, bool]:
    """For people: which Trivy a scan would use, and whether there is one. Compiles nothing."""
    words = ""
    if there := shutil.which("trivy"):
        try:
            version = version_of(Path(there))
        except ScanImpossibleError as error:
            words = f"{error}; "
        else:
            if accepted(version):
                return f"{version}, {there}", True
            words = f"{refusal(there, version)}; "
    if compiled().exists():
        return f"{words}{PINNED}, compiled by the harness", True
    if shutil.which("go"):
        return f"{words}none; {PINNED} is compiled when needed", True
    return f"{words}none", False


def version_of(program: Path) -> str:
    """What `trivy --version` says, such as "0.74.0"; `ScanImpossibleError` when it says none."""
    try:
        output = run([str(program), "--version"], timeout=60, environ=blanked(os.environ))
    except CommandError as error:
        raise ScanImpossibleError(f"{program} does not work: {error}") from error
    match = _VERSION.search(output)
    if match is None:
        raise ScanImpossibleError(f"{program} is no released Trivy: it tells no version")
    return ".".join(match.groups())


def accepted(version: str) -> bool:
    """Whether this harness can rely on Trivy `version`."""
    major, minor, _ = (int(part) for part in version.split("."))
    return major == 0 and (major, minor) >= OLDEST


def refusal(program: str, version: str) -> str:
    """Why `version` is not accepted."""
    oldest = ".".join(str(part) for part in OLDEST)
    return f"{program} is Trivy {version}, and only 0.x from {oldest} on is accepted"


def compiled() -> Path:
    """Where the pinned version is, once it was compiled."""
    return _TOOL.path


def _provided() -> Path:
    if not (_TOOL.path.exists() or shutil.which("go")):
        raise ScanImpossibleError(
            f"no Trivy here, and no Go to compile it: install Trivy {PINNED} ({INSTALL}),"
            " or Go (https://go.dev/dl/)"
        )
    try:
        return _TOOL.provide()
    except CommandError as error:
        raise ScanImpossibleError(
            f"Trivy {PINNED} cannot be compiled: {error}\ninstall it by hand: {INSTALL}"
        ) from error
