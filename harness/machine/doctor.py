"""Check this machine and suggest fixes."""

import os
import platform
import shutil
from dataclasses import dataclass

import requests
from docker.errors import DockerException
from rich.table import Table

from harness.build.assets import RELEASES
from harness.core.cache import cache_directory
from harness.core.console import stderr
from harness.core.process import may_install
from harness.core.proof import MARKS, Status
from harness.core.settings import default_base
from harness.core.stages import Architecture
from harness.engine.emulation import runs
from harness.engine.provision import connect
from harness.kubernetes import kind
from harness.scan import tool

DISK_BYTES = 12_000_000_000


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """The result of one check."""

    name: str
    ok: bool
    optional: bool
    found: str
    remedy: str = ""


def examine() -> list[Diagnosis]:
    """Check everything that the harness may need, the most important first."""
    return [_engine(), _base(), _release(), _go(), _trivy(), _emulation(), _cluster(), _disk()]


def show(diagnoses: list[Diagnosis]) -> None:
    """Print the diagnoses as a table."""
    table = Table("", "check", "found", "fix")
    for diagnosis in diagnoses:
        missing = Status.SKIPPED if diagnosis.optional else Status.FAILED
        mark = MARKS[Status.PASSED if diagnosis.ok else missing]
        table.add_row(
            mark, diagnosis.name, diagnosis.found, "" if diagnosis.ok else diagnosis.remedy
        )
    stderr.print(table)


def _engine() -> Diagnosis:
    client = connect()
    if client is not None:
        found = f"Docker {client.version()['Version']}"
        return Diagnosis(name="container engine", ok=True, optional=False, found=found)
    possible = may_install()
    return Diagnosis(
        name="container engine",
        ok=possible,
        optional=False,
        found="none; one is started when needed" if possible else "none",
        remedy="sudo apt-get install docker.io, and join the group docker",
    )


def _base() -> Diagnosis:
    client, here, base = connect(), False, default_base()
    if client is not None:
        try:
            client.images.get(base)
            here = True
        except DockerException:
            pass
    return Diagnosis(
        name=f"base image {base}",
        ok=here,
        optional=True,
        found="on the engine" if here else "not on the engine",
        remedy="pulled if a registry is reachable; else a stand-in is built (root on Debian)",
    )


def _release() -> Diagnosis:
    try:
        requests.head(RELEASES, timeout=5)
        reachable = True
    except requests.RequestException:
        reachable = False
    return Diagnosis(
        name="plugin releases",
        ok=reachable,
        optional=True,
        found=f"{RELEASES} {'answers' if reachable else 'is unreachable'}",
        remedy="stand-in plugins are used, and reports name them",
    )


def _tool(name: str, purpose: str, remedy: str) -> Diagnosis:
    path = shutil.which(name)
    return Diagnosis(
        name=purpose, ok=path is not None, optional=True, found=path or "none", remedy=remedy
    )


def _go() -> Diagnosis:
    return _tool("go", "Go, for stand-in plugins", "install Go: https://go.dev/dl/")


def _trivy() -> Diagnosis:
    found, usable = tool.describe()
    return Diagnosis(
        name="Trivy, for scans", ok=usable, optional=True, found=found, remedy=tool.REMEDY
    )


def _emulation() -> Diagnosis:
    other = Architecture.ARM64 if platform.machine() == "x86_64" else Architecture.AMD64
    client = connect()
    there = client is not None and runs(client, other)
    possible = may_install()
    found = "none; QEMU is registered when needed" if possible else "none"
    return Diagnosis(
        name=f"emulation of {other}",
        ok=there or possible,
        optional=True,
        found="works" if there else found,
        remedy=f"sudo apt-get install qemu-user-static, or use a machine with {other}",
    )


def _cluster() -> Diagnosis:
    with_kind = kind.is_installed() and shutil.which("kubectl") is not None
    possible = may_install() and shutil.which("go") is not None
    without = "none; a stand-in cluster is started when needed" if possible else "none"
    return Diagnosis(
        name="Kubernetes, for smoke tests",
        ok=with_kind or possible,
        optional=True,
        found="kind and kubectl" if with_kind else without,
        remedy="install kind and kubectl (https://kind.sigs.k8s.io), or Go as root on Debian",
    )


def _disk() -> Diagnosis:
    stats = os.statvfs(cache_directory())
    free = stats.f_bavail * stats.f_frsize
    return Diagnosis(
        name="disk",
        ok=free > DISK_BYTES,
        optional=True,
        found=f"{free / 1e9:.0f} GB free",
        remedy=f"a full-size image needs {DISK_BYTES / 1e9:.0f} GB",
    )
