"""The manifests under `deploy/`: what they repeat of the regions table, and copies of them.

Some files hold generated sections, some are written whole, and none other may lie in a directory of
those.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.core.errors import UsageError
from harness.core.regions import REPOSITORY, Region
from harness.core.sections import outdated
from harness.kubernetes.manifests import (
    HEADER,
    container_ports,
    manifest_files,
    policy_ports,
    prometheus_rule,
    service_ports,
)

DEPLOY = REPOSITORY / "deploy"


def sections(regions: Sequence[Region]) -> Mapping[str, str]:
    """The text of every generated section, by name."""
    return {
        "container ports": container_ports(regions),
        "service ports": service_ports(regions),
        "policy ports": policy_ports(regions),
    }


def outdated_sections(deploy: Path, regions: Sequence[Region], *, write: bool) -> list[Path]:
    """Those of the files under `deploy` whose sections differ; they are rewritten when `write`."""
    base = deploy / "base"
    paths = [base / f"{name}.yaml" for name in ("deployment", "service", "networkpolicy")]
    return outdated(paths, sections(regions), write=write)


def outdated_manifests(deploy: Path, regions: Sequence[Region], *, write: bool) -> list[Path]:
    """Those of the wholly generated files under `deploy` that differ, are missing or too many.

    They are written, and removed, when `write`.
    """
    expected = {deploy / name: text for name, text in manifest_files(regions).items()}
    monitoring = deploy / "components" / "monitoring"
    expected[monitoring / "prometheusrule.yaml"] = prometheus_rule(
        (monitoring / "rules.yaml").read_text(encoding="utf-8")
    )
    different = [
        path for path, text in expected.items() if not path.is_file() or path.read_text() != text
    ]
    stale = [
        path
        for path in sorted(deploy.rglob("*.yaml"))
        if path not in expected and path.read_text(encoding="utf-8").startswith(HEADER)
    ]
    if write:
        for path in different:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(expected[path], encoding="utf-8")
        for path in stale:
            path.unlink()
            if not any(path.parent.iterdir()):
                path.parent.rmdir()
    return different + stale


def write_manifests(directory: Path, regions: Sequence[Region]) -> None:
    """Write all of `deploy/`, made for `regions`, into `directory`, which is new or empty.

    Raises `UsageError` when it is neither.
    """
    if directory.exists() and any(directory.iterdir()):
        raise UsageError(f"{directory} is not empty: give a new directory for the manifests")
    shutil.copytree(DEPLOY, directory, dirs_exist_ok=True)
    outdated_sections(directory, regions, write=True)
    outdated_manifests(directory, regions, write=True)
