"""Writes what other files repeat of the regions table, so that adding a region is one line.

`python -m harness.generate` writes, `--check` only compares and fails on a difference.
`--output DIR` writes the manifests alone into DIR, with `--without REGION` for an image that lacks
regions, repeatable.
A file holds the lines between `generated: NAME` and `end of generated`. Some files under `deploy/`
are written whole, and none other may lie in a directory of theirs.
"""

import argparse
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from harness.errors import UsageError
from harness.manifests import (
    HEADER,
    container_ports,
    manifest_files,
    policy_ports,
    prometheus_rule,
    service_ports,
)
from harness.regions import (
    ALL_BUT,
    IMAGE_DIRECTORY,
    METRICS_PORT,
    REPOSITORY,
    Region,
    load_regions,
    select,
)

DEPLOY = REPOSITORY / "deploy"


def sections(regions: Sequence[Region]) -> Mapping[str, str]:
    """The text of every generated section, by name."""
    names = ",".join(region.name for region in regions)
    return {
        "one layer per region": "\n".join(
            f"COPY --from=download /layers/{region.name}/ /" for region in regions
        ),
        "ports": f'ARG PORTS="{" ".join(str(region.port) for region in regions)}"',
        "regions": f'ARG REGIONS="${{WITHOUT:+{ALL_BUT}}}${{WITHOUT:-{names}}}"',
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


def write_manifests(directory: Path, regions: Sequence[Region]) -> None:
    """Write all of `deploy/`, made for `regions`, into `directory`, which is new or empty.

    Raises `UsageError` when it is neither.
    """
    if directory.exists() and any(directory.iterdir()):
        raise UsageError(f"{directory} is not empty: give a new directory for the manifests")
    shutil.copytree(DEPLOY, directory, dirs_exist_ok=True)
    outdated(_with_sections(directory), regions, write=True)
    outdated_manifests(directory, regions, write=True)


def _with_sections(deploy: Path) -> list[Path]:
    base = deploy / "base"
    return [base / f"{name}.yaml" for name in ("deployment", "service", "networkpolicy")]


def _of_checkout(*, check: bool) -> int:
    """Write what the checkout has of the table, or compare only; 1 when that differs."""
    regions = load_regions()
    paths = [IMAGE_DIRECTORY / "Dockerfile", REPOSITORY / "README.md", *_with_sections(DEPLOY)]
    different = outdated(paths, regions, write=not check)
    different += outdated_manifests(DEPLOY, regions, write=not check)
    for path in different:
        verb = "differs from" if check else "written from"
        print(f"{path.relative_to(REPOSITORY)} {verb} image/regions")
    if check and different:
        print("run: python -m harness.generate")
    return int(check and bool(different))


def main() -> int:
    """Command line; exit 1 when `--check` finds a difference, 2 for bad usage."""
    parser = argparse.ArgumentParser(prog="python -m harness.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only")
    parser.add_argument("--output", type=Path, help="write manifests into this directory only")
    parser.add_argument("--without", action="append", default=[], help="region to leave out")
    given = parser.parse_args()
    if given.output is None:
        if given.without:
            parser.error("--without is for manifests elsewhere: add --output DIR")
        return _of_checkout(check=given.check)
    try:
        regions = select(load_regions(), given.without)
        write_manifests(given.output, regions)
    except UsageError as error:
        parser.error(str(error))
    print(f"{given.output}: manifests of {len(regions)} regions")
    return 0


if __name__ == "__main__":
    sys.exit(main())
