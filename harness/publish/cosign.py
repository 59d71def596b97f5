"""Find cosign on PATH, or compile the pinned version from its Go module.

Two major versions are in use, with other options for the same thing: cosign 2 writes Sigstore
bundles only when asked, and cosign 3 leaves out the transparency log only with a signing config.
https://github.com/sigstore/cosign/blob/main/CHANGELOG.md
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core.console import warn
from harness.core.decode import member
from harness.core.errors import CommandError, EnvironmentMissingError
from harness.core.go_tools import GoTool
from harness.core.process import run
from harness.core.untrusted import MALFORMED

PINNED = "3.1.3"
OLDEST = (2, 6)
"""The first minor version that keeps signatures and attestations in Sigstore bundles."""
MAJORS = {2, 3}
INSTALL = "https://docs.sigstore.dev/cosign/system_config/installation/"
NO_SERVICES, NO_ROOTS = "no-services.json", "no-roots.json"
_BUNDLES_ON_REQUEST = 2
_TLOG_OPTION = 2


def tool(version: str = PINNED) -> GoTool:
    """Return the cosign of `version` as a Go module."""
    major = version.partition(".")[0]
    return GoTool(
        package=f"github.com/sigstore/cosign/v{major}/cmd/cosign",
        version=version,
        takes="minutes",
        ldflags=f"-s -w -X sigs.k8s.io/release-utils/version.gitVersion=v{version}",
    )


@dataclass(frozen=True, kw_only=True)
class Cosign:
    """A working cosign, and the options that its major version needs."""

    path: Path
    version: tuple[int, int]  # major and minor

    @property
    def _bundles(self) -> list[str]:
        return ["--new-bundle-format"] if self.version[0] == _BUNDLES_ON_REQUEST else []

    def attest(self, statement: Path, bundle: Path, *options: str, offline: bool) -> list[str]:
        """Return the command that signs the in-toto `statement` and writes a Sigstore `bundle`.

        It asks no registry. `offline` leaves out the transparency log.
        """
        command = ["cosign", "attest-blob", "--yes", *options, *self._bundles]
        if offline and self.version[0] == _TLOG_OPTION:
            command.append("--tlog-upload=false")
        elif offline:
            command += ["--signing-config", NO_SERVICES, "--trusted-root", NO_ROOTS]
        return [*command, "--statement", str(statement), "--bundle", str(bundle)]

    def prepare_offline(self, directory: Path) -> None:
        """Write to `directory` the files that the commands for `offline` name."""
        self.run(["cosign", "trusted-root", "create", "--out", NO_ROOTS], cwd=directory)
        if self.version[0] != _TLOG_OPTION:
            self.run(["cosign", "signing-config", "create", "--out", NO_SERVICES], cwd=directory)

    def verify(self, name: str, options: Sequence[str], *, offline: bool) -> list[str]:
        """Return the command that verifies the signature of the image `name`."""
        return ["cosign", "verify", *self._trusting(options, offline=offline), name]

    def verify_attestation(
        self, name: str, kind: str, options: Sequence[str], *, offline: bool
    ) -> list[str]:
        """Return the command that verifies and prints the attestations of type `kind`."""
        trusted = self._trusting(options, offline=offline)
        return ["cosign", "verify-attestation", "--type", kind, *trusted, name]

    def _trusting(self, options: Sequence[str], *, offline: bool) -> list[str]:
        trusted = [*options, *self._bundles]
        if offline and self.version[0] == _TLOG_OPTION:
            trusted += ["--trusted-root", NO_ROOTS]  # else it asks the internet, even with a key
        return [*trusted, *(["--insecure-ignore-tlog"] if offline else [])]

    def run(
        self, command: Sequence[str], *, environ: dict[str, str] | None = None, cwd: Path
    ) -> str:
        """Run a `command` of this class and return its stdout; raises `CommandError`."""
        return run([str(self.path), *command[1:]], environ=environ, cwd=cwd)


def find_cosign() -> Cosign:
    """Return the cosign on PATH if its version is accepted, else the pinned one, compiled once.

    Raises `EnvironmentMissingError` if neither cosign nor Go is installed.
    """
    if there := shutil.which("cosign"):
        version = version_of(Path(there))
        if accepted(version):
            return Cosign(path=Path(there), version=version)
        found = ".".join(str(part) for part in version)
        warn(f"{there} is cosign {found}; only 2.6 and later 2.x and 3.x work; using {PINNED}")
    pinned = tool()
    if not (pinned.path.exists() or shutil.which("go")):
        raise EnvironmentMissingError(
            f"cosign is not installed, nor is Go to compile it: install cosign {PINNED}"
            f" ({INSTALL}), or publish without a signature with --unsigned"
        )
    path = pinned.provide()
    return Cosign(path=path, version=version_of(path))


def version_of(program: Path) -> tuple[int, int]:
    """Return the major and minor version; raise `EnvironmentMissingError` if it has none."""
    try:
        answer = run([str(program), "version", "--json"], timeout=60)
        told = member(json.loads(answer), str, "gitVersion").removeprefix("v")
        major, minor = (int(part) for part in told.split(".")[:2])
    except CommandError as error:
        raise EnvironmentMissingError(f"{program} does not work: {error}") from error
    except MALFORMED:
        raise EnvironmentMissingError(
            f"{program} reports no version of cosign: install cosign {PINNED} ({INSTALL})"
        ) from None
    return major, minor


def accepted(version: tuple[int, int]) -> bool:
    """Return whether the harness works with cosign `version`."""
    return version[0] in MAJORS and version >= OLDEST
