"""The command `smoke`."""

from pathlib import Path
from typing import Annotated

import typer

from harness import pipeline
from harness.build.assets import LOCAL_VERSION
from harness.cli.options import Json, Reports, StandIns, Without, finish
from harness.kubernetes.acceptance import SmokeOptions
from harness.kubernetes.clusters import ClusterKind


def smoke(
    image: Annotated[str, typer.Argument(help="Image; default: built for the test.")] = "",
    *,
    version: Annotated[
        str, typer.Option(help="Release to build when no image is given.")
    ] = LOCAL_VERSION,
    context: Annotated[str, typer.Option(help="Context of the kubeconfig.")] = "",
    cluster: Annotated[
        ClusterKind, typer.Option(help="What to make without a context.")
    ] = ClusterKind.AUTO,
    drain: Annotated[bool, typer.Option("--drain", help="Drain a node of that context.")] = False,
    stand_ins: StandIns = None,
    without: Without = None,
    reports: Reports = Path("proof"),
    as_json: Json = False,
) -> None:
    """Deploy an image on Kubernetes with the shipped manifests, and prove what happens there."""
    options = SmokeOptions(context=context, kind=cluster, drain=drain)
    config = pipeline.BuildConfig(
        version=version, stand_ins=stand_ins, without=tuple(without or ())
    )
    finish(pipeline.smoke_test(image, config, options, reports), as_json=as_json)
