"""Writes what other files repeat of the regions table, so that adding a region is one line.

`python -m harness.generate` writes, `--check` only compares and fails on a difference.
A file holds the lines between `generated: NAME` and `end of generated`. Some files under `deploy/`
are written whole, and none other may lie in a directory of theirs.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from harness.manifests import (
    HEADER,
    container_ports,
    manifest_files,
    policy_ports,
    prometheus_rule,
    service_ports,
)
from harness.regions import IMAGE_DIRECTORY, METRICS_PORT, REPOSITORY, Region, load_regions

DEPLOY = REPOSITORY / "deploy"


def sections(regions: Sequence[Region]) -> Mapping[str, str]:
    """The text of every generated section, by name."""
    return {
        "one layer per region": "\n".join(
            f"COPY --from=download /layers/{region.name}/ /" for region in regions
        ),
        "ports": "EXPOSE " + " ".join(str(region.port) for region in regions),
        "table of ports": "\n".join(
            ["| port | what |", "|---|---|"]
            + [f"| {region.port} | {region.name} |" for region in regions]
            + [f"| {METRICS_PORT} | `/metrics`, `/readyz`, `/readyz/{{region}}`, `/livez` |"]
        ),
        "container ports": container_ports(regions),
        "service ports": service_ports(regions),
        "policy ports": policy_ports(regions),
    }


def render(text: str, regions: Sequence[Region]) -> str:
    """`text` with its generated sections made from `regions`."""
    for name, content in sections(regions).items():
        head = rf"(?P<head>^[^\n]*generated: {re.escape(name)}[^\n]*\n)"
        pattern = head + r".*?(?P<end>^[^\n]*end of generated)"
        text = re.sub(
            pattern,
            # A replacement string would have its backslashes interpreted.
            partial(_replace, content),
            text,
            flags=re.MULTILINE | re.DOTALL,
        )
    return text


def _replace(content: str, match: re.Match[str]) -> str:
    return f"{match['head']}{content}\n{match['end']}"


def outdated(paths: Sequence[Path], regions: Sequence[Region], *, write: bool) -> list[Path]:
    """Those of `paths` that differ from the table; they are rewritten when `write`."""
    different = []
    for path in paths:
        text = path.read_text(encoding="utf-8")
        expected = render(text, regions)
        if text != expected:
            different.append(path)
            if write:
                path.write_text(expected, encoding="utf-8")
    return different


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


def main() -> int:
    """Command line; exit 1 when `--check` finds a difference."""
    check = "--check" in sys.argv[1:]
    regions = load_regions()
    base = DEPLOY / "base"
    paths = [IMAGE_DIRECTORY / "Dockerfile", REPOSITORY / "README.md"]
    paths += [base / f"{name}.yaml" for name in ("deployment", "service", "networkpolicy")]
    different = outdated(paths, regions, write=not check)
    different += outdated_manifests(DEPLOY, regions, write=not check)
    for path in different:
        verb = "differs from" if check else "written from"
        print(f"{path.relative_to(REPOSITORY)} {verb} image/regions")
    if check and different:
        print("run: python -m harness.generate")
    return int(check and bool(different))


if __name__ == "__main__":
    sys.exit(main())
