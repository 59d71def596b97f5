"""Run external tools, and install their Debian packages where possible."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from harness.core.console import detail
from harness.core.errors import CommandError, EnvironmentMissingError

_POLICY = Path("/usr/sbin/policy-rc.d")


def run(
    command: Sequence[str],
    *,
    timeout: float = 600,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
) -> str:
    """Run `command` and return its standard output.

    `environ` is added to this process's environment and `stdin` is its input; neither is ever
    printed. Raises `CommandError` with the end of the tool's output if it fails, is missing or
    runs longer than `timeout` seconds.
    """
    quoted = shlex.join(command)
    detail(f"$ {quoted}")
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            cwd=cwd,
            input=stdin,
            env={**os.environ, **(environ or {})},
        )
    except FileNotFoundError as error:
        raise CommandError(f"{command[0]} is not installed. It is needed for: {quoted}") from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{quoted}: timed out after {timeout:g} s") from error
    if done.returncode != 0:
        words = "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
        raise CommandError(f"{quoted}: exit {done.returncode}\n{words}")
    return done.stdout


def is_root() -> bool:
    """Whether this process may install packages and start an engine."""
    return os.geteuid() == 0


def may_install() -> bool:
    """Whether this process may install Debian packages here."""
    return is_root() and shutil.which("apt-get") is not None


def ensure_tools(packages: Mapping[str, str], *, wanted_for: str) -> None:
    """Make every tool in `packages` (tool name to Debian package) available on PATH.

    Raises `EnvironmentMissingError` with the command to run if this process may not install.
    """
    missing = sorted({package for tool, package in packages.items() if not shutil.which(tool)})
    if not missing:
        return
    names = " ".join(missing)
    if not shutil.which("apt-get"):
        raise EnvironmentMissingError(
            f"{wanted_for} needs {names}. This machine has no apt-get: install manually."
        )
    if not is_root():
        raise EnvironmentMissingError(
            f"{wanted_for} needs {names}. Run: sudo apt-get install {names}"
        )
    install_packages(missing)


def install_packages(packages: Sequence[str]) -> None:
    """Install Debian packages without starting the services they bring."""
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-o", "DPkg::Lock::Timeout=300", "-q", "-y", "--no-install-recommends"]
    # https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt: 101 forbids a start.
    ours = not _POLICY.exists()
    if ours:
        _POLICY.write_text("#!/bin/sh\nexit 101\n")
        _POLICY.chmod(0o755)
    try:
        run([*apt, "update"], environ=quiet)
        run([*apt, "install", *packages], environ=quiet)
    finally:
        if ours:
            with suppress(FileNotFoundError):
                _POLICY.unlink()


_HOST_TOOLS = {"busybox": "busybox", "lua5.3": "lua5.3", "haproxy": "haproxy"}
_LUA_LIBRARIES = ("lua-posix", "lua-cjson")


def ensure_host_tools(*, wanted_for: str) -> None:
    """Install the tools that run the image's shell, Lua and proxy parts on this host.

    Raises `EnvironmentMissingError` with the command to run if this process may not install.
    """
    ensure_tools(_HOST_TOOLS, wanted_for=wanted_for)
    try:
        run(["lua5.3", "-e", 'require "posix.poll" require "cjson"'])
    except CommandError as error:
        names = " ".join(_LUA_LIBRARIES)
        if not may_install():
            raise EnvironmentMissingError(
                f"{wanted_for} needs {names}. Run: sudo apt-get install {names}"
            ) from error
        install_packages(_LUA_LIBRARIES)


def main() -> None:
    """Install what the tests of the image's parts need, or say that they will be skipped."""
    try:
        ensure_host_tools(wanted_for="tests of the image's parts")
    except EnvironmentMissingError as error:
        print(f"some tests will be skipped: {error}")


if __name__ == "__main__":
    main()
