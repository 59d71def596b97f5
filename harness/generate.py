"""Generate what other files repeat: adding a region, a setting or a dependency is one line.

`python -m harness.generate` writes the files; `--check` only compares and fails on a difference.
`--output DIR` writes only a copy of the Helm chart, to DIR; `--without REGION` (repeatable) is for
an image that lacks regions.
"""

import argparse
import json
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.core.errors import UsageError
from harness.core.regions import (
    ALL_BUT,
    IMAGE_DIRECTORY,
    METRICS_PORT,
    REPOSITORY,
    Region,
    load_regions,
    select,
)
from harness.core.sections import outdated
from harness.core.settings import BASE_IMAGE, Kind, Setting, load_settings
from harness.kubernetes.chart import outdated_chart, write_chart

FILES = (
    IMAGE_DIRECTORY / "Dockerfile",
    REPOSITORY / "docs" / "reference.md",
    REPOSITORY / "deploy" / "compose" / "compose.yaml",
)
TASK_DEFINITION = REPOSITORY / "deploy" / "ecs" / "task-definition.json"
PROJECT = REPOSITORY / "pyproject.toml"
LOCKED = REPOSITORY / "requirements" / "release.in"


def sections(regions: Sequence[Region], settings: Mapping[str, Setting]) -> Mapping[str, str]:
    """The text of every generated section of `FILES`, by name."""
    names = ",".join(region.name for region in regions)
    return {
        "one layer per region": "\n".join(
            f"COPY --from=download /layers/{region.name}/ /" for region in regions
        ),
        "ports": f'ARG PORTS="{" ".join(str(region.port) for region in regions)}"',
        "regions": f'ARG REGIONS="${{WITHOUT:+{ALL_BUT}}}${{WITHOUT:-{names}}}"',
        "compose ports": "\n".join(
            f'      - "127.0.0.1:{region.port}:{region.port}" # {region.name}' for region in regions
        ),
        "table of ports": "\n".join(
            ["| port | what |", "|---|---|"]
            + [f"| {region.port} | {region.name} |" for region in regions]
            + [f"| {METRICS_PORT} | `/metrics`, `/readyz`, `/readyz/{{region}}`, `/livez` |"]
        ),
        "base image": f"ARG {BASE_IMAGE}={settings[BASE_IMAGE].default}",
        "sentence on the base": (
            f"The build starts from `{settings[BASE_IMAGE].default}`. Choose another image with"
            f" `harness build --base IMAGE` or the build argument `{BASE_IMAGE}`."
        ),
        "settings of the plugin": "ENV "
        + " \\\n    ".join(
            f"{setting.name}={setting.default}"
            for setting in settings.values()
            if setting.kind is Kind.FLAG
        ),
        "table of settings": "\n".join(
            ["| environment | default | minimum | meaning |", "|---|---|---|---|"]
            + [_row(setting) for setting in settings.values() if setting.kind is not Kind.BUILD]
        ),
    }


def dependencies(project: str) -> Mapping[str, str]:
    """The section of `LOCKED` with the dependencies in `project`, the text of pyproject.toml."""
    return {"dependencies": "\n".join(tomllib.loads(project)["project"]["dependencies"])}


def _row(setting: Setting) -> str:
    unit = " s" if setting.kind is Kind.SECONDS else ""
    minimum = "" if setting.minimum is None else f"{setting.minimum}{unit}"
    return f"| `{setting.name}` | {setting.default}{unit} | {minimum} | {setting.description} |"


def outdated_task_definition(path: Path, regions: Sequence[Region], *, write: bool) -> list[Path]:
    """Return the ECS task definition if its port mappings differ; rewrite them if `write`.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_PortMapping.html
    """
    text = path.read_text(encoding="utf-8")
    task = json.loads(text)
    task["containerDefinitions"][0]["portMappings"] = [
        *(
            {"name": region.name, "containerPort": region.port, "protocol": "tcp"}
            for region in regions
        ),
        {"name": "metrics", "containerPort": METRICS_PORT, "protocol": "tcp"},
    ]
    expected = json.dumps(task, indent=2) + "\n"
    if text == expected:
        return []
    if write:
        path.write_text(expected, encoding="utf-8")
    return [path]


def _of_checkout(*, check: bool) -> int:
    """Update the generated files, or only compare them; return 1 if `check` finds a difference."""
    regions = load_regions()
    different = outdated(FILES, sections(regions, load_settings()), write=not check)
    different += outdated_chart(regions, write=not check)
    different += outdated_task_definition(TASK_DEFINITION, regions, write=not check)
    project = dependencies(PROJECT.read_text(encoding="utf-8"))
    locked = outdated([LOCKED], project, write=not check)
    for path in [*different, *locked]:
        verb = "differs from" if check else "written from"
        source = PROJECT.name if path == LOCKED else "image/regions and image/settings"
        print(f"{path.relative_to(REPOSITORY)} {verb} {source}")
    different += locked
    if check and different:
        print("run: python -m harness.generate")
    return int(check and bool(different))


def main() -> int:
    """Command line; exit 1 when `--check` finds a difference, 2 for bad usage."""
    parser = argparse.ArgumentParser(prog="python -m harness.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only")
    parser.add_argument("--output", type=Path, help="write a chart into this directory only")
    parser.add_argument("--without", action="append", default=[], help="region to leave out")
    given = parser.parse_args()
    if given.output is None:
        if given.without:
            parser.error("--without requires --output DIR")
        return _of_checkout(check=given.check)
    try:
        regions = select(load_regions(), given.without)
        write_chart(given.output, regions)
    except UsageError as error:
        parser.error(str(error))
    print(f"{given.output}: chart of {len(regions)} regions")
    return 0


if __name__ == "__main__":
    sys.exit(main())
