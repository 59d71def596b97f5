"""Keep the Helm chart in step with the tables in `image/`, and write copies of it.

Format of a chart: https://helm.sh/docs/topics/charts/.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.core.errors import UsageError
from harness.core.regions import REPOSITORY, Region
from harness.core.sections import render
from harness.core.settings import UNHEALTHY_SECONDS, default_number

CHART = REPOSITORY / "deploy" / "chart"
HEADER = "# generated from image/regions by `python -m harness.generate`\n"
IGNORED = {".helmignore", "ci"}
"""What a packaged chart leaves out."""
_READINESS_PERIOD = 2  # seconds, as in templates/deployment.yaml
_RESTART_SECONDS = 20  # what a restart may take before the pod leaves the Service
_MAX_PORT_NAME = 15  # RFC 6335, section 5.1, and the API server


def chart_files(regions: Sequence[Region], chart: Path = CHART) -> Mapping[Path, str]:
    """Return the text of every file of `chart` that repeats the tables of regions and settings.

    Raises `UsageError` if a region's name is too long for a Kubernetes port.
    """
    if long := [region.name for region in regions if len(region.name) > _MAX_PORT_NAME]:
        raise UsageError(
            f"{long[0]} is too long for a port name (at most {_MAX_PORT_NAME} characters)"
        )
    values, schema = chart / "values.yaml", chart / "values.schema.json"
    deployment = chart / "templates" / "deployment.yaml"
    patience = {"patience of readiness": _readiness_threshold()}
    listed = "\n".join(f"  - {region.name}" for region in regions)
    ports = "".join(f"{region.name}: {region.port}\n" for region in regions)
    return {
        values: render(values.read_text(encoding="utf-8"), {"regions": listed}),
        schema: _schema(json.loads(schema.read_text(encoding="utf-8")), regions),
        chart / "files" / "regions.yaml": HEADER + ports,
        deployment: render(deployment.read_text(encoding="utf-8"), patience),
    }


def _readiness_threshold() -> str:
    """Return the readiness probe's line: the supervisor restarts a hung region first."""
    seconds = default_number(UNHEALTHY_SECONDS) + _RESTART_SECONDS
    several = -(-seconds // _READINESS_PERIOD)
    choice = f"{{{{ ternary 2 {several} (eq (len $group.regions) 1) }}}}"
    return f"            failureThreshold: {choice}"


def _schema(schema: dict[str, Any], regions: Sequence[Region]) -> str:
    schema["definitions"]["region"]["enum"] = [region.name for region in regions]
    return json.dumps(schema, indent=2) + "\n"


def outdated_chart(regions: Sequence[Region], *, chart: Path = CHART, write: bool) -> list[Path]:
    """Return the files of `chart` that differ from the tables; update them if `write`."""
    different = []
    for path, text in chart_files(regions, chart).items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            different.append(path)
            if write:
                path.write_text(text, encoding="utf-8")
    return different


def write_chart(directory: Path, regions: Sequence[Region]) -> None:
    """Write a copy of the chart for an image that has only `regions` into the new `directory`.

    Raises `UsageError` if it is not empty.
    """
    if directory.exists() and any(directory.iterdir()):
        raise UsageError(f"{directory} is not empty: choose a new directory for the chart")
    shutil.copytree(CHART, directory, dirs_exist_ok=True)
    outdated_chart(regions, chart=directory, write=True)
