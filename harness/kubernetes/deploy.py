"""The manifests under `deploy/`: keep them in step with the tables in `image/`, write copies.

Some files contain generated sections; others are generated whole, and outdated ones are removed.
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
    readiness_threshold,
    service_ports,
)

DEPLOY = REPOSITORY / "deploy"


def sections(regions: Sequence[Region]) -> Mapping[str, str]:
    """Return the text of every generated section, by name."""
    return {
        "container ports": container_ports(regions),
        "service ports": service_ports(regions),
        "policy ports": policy_ports(regions),
        "patience of readiness": readiness_threshold(),
    }


def outdated_sections(deploy: Path, regions: Sequence[Region], *, write: bool) -> list[Path]:
    """Return the files under `deploy` whose sections are outdated; rewrite them if `write`."""
    base = deploy / "base"
    paths = [base / f"{name}.yaml" for name in ("deployment", "service", "networkpolicy")]
    return outdated(paths, sections(regions), write=write)


def outdated_manifests(deploy: Path, regions: Sequence[Region], *, write: bool) -> list[Path]:
    """Return the generated files under `deploy` that differ, are missing or are left over.

    If `write`, they are written or removed.
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
    """Write all of `deploy/`, generated for `regions`, into a new or empty `directory`.

    Raises `UsageError` if it is not empty.
    """
    if directory.exists() and any(directory.iterdir()):
        raise UsageError(f"{directory} is not empty: choose a new directory for the manifests")
    shutil.copytree(DEPLOY, directory, dirs_exist_ok=True)
    outdated_sections(directory, regions, write=True)
    outdated_manifests(directory, regions, write=True)
