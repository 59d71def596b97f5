"""The command `smoke`."""

from pathlib import Path
from typing import Annotated

import typer

from harness import pipeline
from harness.build.assets import LOCAL_VERSION
from harness.cli.expand import expanded
from harness.cli.options import Json, Reports, finish
from harness.core.omit import Omit
from harness.kubernetes.acceptance import SmokeOptions
from harness.pipeline import BuildConfig


@expanded
def smoke(
    image: Annotated[str, typer.Argument(help="Image to deploy; default: build one.")] = "",
    *,
    version: Annotated[  # noqa: ARG001 - part of `config`
        str, typer.Option(help="Release to build if no image is given.")
    ] = LOCAL_VERSION,
    options: SmokeOptions,
    config: Annotated[
        BuildConfig,
        Omit("architecture", "base", "release_url", "full_size", "output", "reference"),
    ],
    reports: Reports = Path("proof"),
    as_json: Json = False,
) -> None:
    """Deploy an image on Kubernetes with the shipped manifests and verify it there."""
    finish(pipeline.smoke_test(image, config, options, reports), as_json=as_json)
