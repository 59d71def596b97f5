"""Find Trivy on PATH, or compile the pinned version from its Go module."""

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
"""Oldest minor version that is accepted: it is the first whose report has all fields in use."""

REMEDY = f"install Trivy {PINNED}, or Go to compile it: https://go.dev/dl/"
INSTALL = "https://trivy.dev/latest/getting-started/installation/"
_MODULE = "github.com/aquasecurity/trivy"
# The build settings are those of Trivy's goreleaser.yml.
_TOOL = GoTool(
    package=f"{_MODULE}/cmd/trivy",
    version=PINNED,
    takes="minutes",
    ldflags=f"-s -w -X {_MODULE}/pkg/version/app.ver={PINNED}",
    environ={"GOEXPERIMENT": "jsonv2"},
)
_VERSION = re.compile(r"^Version: v?(\d+)\.(\d+)\.(\d+)", re.MULTILINE)
_SCAN_SECONDS = 3600
# The only Trivy settings passed on from the environment: access to a private database. A severity,
# an ignore file or a skipped directory would silently weaken the gate.
_KEPT = {"TRIVY_USERNAME", "TRIVY_PASSWORD", "TRIVY_REGISTRY_TOKEN"}


@dataclass(frozen=True, kw_only=True)
class Trivy:
    """A working Trivy."""

    path: Path
    version: str  # "0.74.0"
    provisioned: bool  # compiled by the harness

    def run(self, arguments: Sequence[str], *, cache: Path, directory: Path) -> str:
        """Run Trivy in `directory` with the cache directory `cache`; return its stdout.

        `directory` belongs to the harness, and Trivy's environment variables are unset, so that no
        stray `trivy.yaml`, `.trivyignore` or `TRIVY_SEVERITY` weakens the gate. Raises
        `CommandError`. Its temporary files are in `temporary_files(directory)`.
        """
        temporary = temporary_files(directory)
        temporary.mkdir(exist_ok=True)
        common = ["--cache-dir", str(cache.resolve()), "--timeout", f"{_SCAN_SECONDS}s"]
        return run(
            [str(self.path), *common, *arguments],
            timeout=_SCAN_SECONDS + 60,
            environ={**blanked(os.environ), "TMPDIR": str(temporary.resolve())},
            cwd=directory,
        )


def temporary_files(directory: Path) -> Path:
    """Where a Trivy that runs in `directory` puts its temporary files."""
    return directory / "tmp"


def blanked(environ: Mapping[str, str]) -> dict[str, str]:
    """Return empty values for Trivy's settings in `environ`; Trivy treats them as unset."""
    settings = (name for name in environ if name.startswith("TRIVY_") and name not in _KEPT)
    return dict.fromkeys(settings, "")


def find_trivy() -> Trivy:
    """Return the Trivy on PATH if its version is accepted, else the pinned one, compiled once.

    Raises `ScanImpossibleError` if neither Trivy nor Go is installed.
    """
    if there := shutil.which("trivy"):
        version = version_of(Path(there))
        if accepted(version):
            return Trivy(path=Path(there), version=version, provisioned=False)
        warn(f"{refusal(there, version)}; using the pinned {PINNED}")
    program = _provided()
    return Trivy(path=program, version=version_of(program), provisioned=True)


def describe() -> tuple[str, bool]:
    """Describe the Trivy that a scan would use, and whether there is one. Compiles nothing."""
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
    """Return Trivy's version, such as "0.74.0"; raise `ScanImpossibleError` if it reports none."""
    try:
        output = run([str(program), "--version"], timeout=60, environ=blanked(os.environ))
    except CommandError as error:
        raise ScanImpossibleError(f"{program} does not work: {error}") from error
    match = _VERSION.search(output)
    if match is None:
        raise ScanImpossibleError(
            f"{program} is not a released Trivy: it reports no version; {REMEDY}"
        )
    return ".".join(match.groups())


def accepted(version: str) -> bool:
    """Return whether the harness supports Trivy `version`."""
    major, minor, _ = (int(part) for part in version.split("."))
    return major == 0 and (major, minor) >= OLDEST


def refusal(program: str, version: str) -> str:
    """Say why `version` is not accepted."""
    oldest = ".".join(str(part) for part in OLDEST)
    return f"{program} is Trivy {version}; only 0.x from {oldest} on is supported"


def compiled() -> Path:
    """Return the path of the compiled pinned version, which may not exist yet."""
    return _TOOL.path


def _provided() -> Path:
    if not (_TOOL.path.exists() or shutil.which("go")):
        raise ScanImpossibleError(
            f"Trivy is not installed, nor is Go to compile it: install Trivy {PINNED} ({INSTALL}),"
            " or Go (https://go.dev/dl/)"
        )
    try:
        return _TOOL.provide()
    except CommandError as error:
        raise ScanImpossibleError(
            f"cannot compile Trivy {PINNED}: {error}\ninstall it manually: {INSTALL}"
        ) from error
