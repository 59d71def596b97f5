"""Commands that build, examine and run an image."""

from pathlib import Path
from typing import Annotated

import typer

from harness import pipeline
from harness.build.assets import LOCAL_VERSION
from harness.build.image import build_record
from harness.cli.expand import expanded
from harness.cli.options import FullSize, Json, JsonLines, Reports, Version, finish
from harness.cli.output import print_json
from harness.core.omit import Omit
from harness.engine import foreground
from harness.engine.provision import container_engine
from harness.pipeline import BuildConfig


@expanded
def prove(
    version: Version = LOCAL_VERSION,  # noqa: ARG001 - part of `config`
    *,
    config: Annotated[BuildConfig, Omit("reference")],
    reports: Reports = Path("proof"),
    as_json: Json = False,
) -> None:
    """Build the image, check every requirement, and write the report."""
    finish(pipeline.prove(config, reports), as_json=as_json)


@expanded
def build(version: Version, *, config: BuildConfig, as_json: Json = False) -> None:  # noqa: ARG001
    """Build the image of a release and write its build record."""
    with container_engine() as engine:
        image = pipeline.build(engine, config)
    if as_json:
        print_json(build_record(image, config.image_directory))
    else:
        print(f"{image.reference} {image.image_id}")


def verify(
    image: Annotated[str, typer.Argument(help="Image: name, digest or ID.")],
    *,
    full_size: FullSize = False,
    reports: Reports = Path("proof"),
    as_json: Json = False,
) -> None:
    """Examine an image against every requirement."""
    finish(pipeline.verify_image(image, reports, full_size=full_size), as_json=as_json)


def run(
    image: Annotated[str, typer.Argument(help="Image to run.")],
    *,
    region: Annotated[list[str] | None, typer.Option(help="Region to run (repeatable).")] = None,
    env: Annotated[
        list[str] | None, typer.Option(help="Environment variable NAME=VALUE (repeatable).")
    ] = None,
    as_json: JsonLines = False,
) -> None:
    """Run an image with its ports published on loopback; press Ctrl+C to stop."""
    with container_engine() as engine:
        code = foreground.run(engine.client, image, region or [], env or [], as_json=as_json)
        raise typer.Exit(code)


def logs(
    container: Annotated[str, typer.Argument(help="Container, or - to read standard input.")],
    *,
    region: Annotated[list[str] | None, typer.Option(help="Region to show (repeatable).")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow the log.")] = False,
    as_json: JsonLines = False,
) -> None:
    """Print a container's log with one colour per region."""
    foreground.show_logs(container, region or [], follow=follow, as_json=as_json)
