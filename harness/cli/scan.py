"""The command `scan`."""

from pathlib import Path
from typing import Annotated

import typer

from harness import pipeline
from harness.cli.expand import expanded
from harness.cli.options import Json
from harness.cli.output import print_json
from harness.scan import ScanOptions, passed


@expanded
def scan(
    image: Annotated[str, typer.Argument(help="Image: name, digest or ID.")],
    *,
    options: ScanOptions,
    output: Annotated[Path, typer.Option(help="Directory for the scan reports.")] = Path(
        "scan-out"
    ),
    as_json: Json = False,
) -> None:
    """Scan an image with Trivy; fail on critical or high findings."""
    report = pipeline.scan_existing(image, options, output)
    if as_json:
        print_json(report.to_json_dict())
    passed(report)
