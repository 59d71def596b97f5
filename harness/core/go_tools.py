"""Tools that are published as Go modules: compiled once per version and kept in the cache.

The source comes from the Go module proxy and is checked against the Go checksum database
(https://go.dev/ref/mod#checksum-database), so that a machine that reaches only package registries
gets the same code as the upstream release.
"""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.core.cache import cache_directory
from harness.core.console import step
from harness.core.errors import EnvironmentMissingError
from harness.core.locks import exclusive
from harness.core.process import run

_COMPILE_SECONDS = 3600


@dataclass(frozen=True, kw_only=True)
class GoTool:
    """A program of a Go module at a pinned version."""

    package: str  # the last part is the program's name
    version: str  # without the v
    takes: str  # "minutes"
    ldflags: str = "-s -w"
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The program's name."""
        return self.package.rpartition("/")[2]

    @property
    def path(self) -> Path:
        """Path of the program, once compiled."""
        return cache_directory() / "tools" / f"{self.name}-{self.version}" / self.name

    def provide(self) -> Path:
        """Return the path of the program; compile it first if needed.

        Raises `EnvironmentMissingError` if Go is missing, and `CommandError` with Go's output.
        """
        path = self.path
        if path.exists():
            return path
        if not shutil.which("go"):
            raise EnvironmentMissingError(f"{self.name} needs Go. Install it: https://go.dev/dl/")
        path.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(f"compile {path}"):
            if not path.exists():  # another run was faster
                self._compile(path)
        return path

    def _compile(self, path: Path) -> None:
        with (
            step(f"compiling {self.name} {self.version} (once; takes {self.takes})"),
            tempfile.TemporaryDirectory(dir=path.parent) as made,
        ):
            # GOOS or GOARCH in the environment would cross-compile and install elsewhere.
            here = {"CGO_ENABLED": "0", "GOOS": "", "GOARCH": "", "GOBIN": made}
            command = ["go", "install", "-trimpath", f"-ldflags={self.ldflags}"]
            run(
                [*command, f"{self.package}@v{self.version}"],
                timeout=_COMPILE_SECONDS,
                environ={**self.environ, **here},
            )
            (Path(made) / self.name).replace(path)
