"""Programs in Go, compiled once and kept in the cache: published modules, and our own.

Modules come from the Go module proxy and are checked against the Go checksum database
(https://go.dev/ref/mod#checksum-database), so that a machine that reaches only package registries
gets the same code as the upstream release.
"""

import hashlib
import json
import os
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


@dataclass(frozen=True, kw_only=True)
class GoProgram:
    """A program of this repository: a package in a module's directory."""

    source: Path  # the module's directory
    name: str  # for people, and of its directory in the cache
    package: str = "."
    ldflags: str = "-s -w"
    environ: Mapping[str, str] = field(default_factory=dict)  # GOARCH for another machine
    takes: str = "seconds"  # on two cores

    @property
    def path(self) -> Path:
        """Return where `provide` puts the executable."""
        return cache_directory() / "programs" / f"{self.name}-{self._recipe()}"

    def provide(self) -> Path:
        """Return the path of the static executable, compiled once per source and options.

        Raises `EnvironmentMissingError` if Go is missing, and `CommandError` with Go's output.
        """
        program = self.path
        if program.exists():
            return program
        if not shutil.which("go"):
            raise EnvironmentMissingError(f"{self.name} needs Go. Install it: https://go.dev/dl/")
        program.parent.mkdir(parents=True, exist_ok=True)
        building = program.with_suffix(f".{os.getpid()}")
        command = ["go", "build", "-trimpath", "-buildvcs=false", f"-ldflags={self.ldflags}"]
        with step(f"compiling {self.name} (once; takes {self.takes})"):
            run(
                [*command, "-o", str(building), self.package],
                cwd=self.source,
                timeout=_COMPILE_SECONDS,
                environ={"CGO_ENABLED": "0", **self.environ},
            )
            building.replace(program)
        return program

    def _recipe(self) -> str:
        options = json.dumps([self.package, self.ldflags, dict(self.environ)])
        recipe = hashlib.sha256(options.encode())
        for path in sorted(self.source.rglob("*")):
            if path.suffix in {".go", ".mod", ".sum"} and not path.name.endswith("_test.go"):
                recipe.update(f"{path.relative_to(self.source)}\n".encode() + path.read_bytes())
        return recipe.hexdigest()[:16]


def module_directory(module: str) -> Path:
    """Return the directory of a published module's sources, such as `k8s.io/api@v0.33.13`.

    The Go command downloads and checks them. Raises `CommandError` with its output.
    """
    told = json.loads(run(["go", "mod", "download", "-json", module]))
    return Path(told["Dir"])
