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
    image: Annotated[str, typer.Argument(help="Image to deploy; default: build one.")] = "",
    *,
    version: Annotated[
        str, typer.Option(help="Release to build if no image is given.")
    ] = LOCAL_VERSION,
    context: Annotated[str, typer.Option(help="Existing cluster: kubeconfig context.")] = "",
    cluster: Annotated[
        ClusterKind, typer.Option(help="Cluster to create if no context is given.")
    ] = ClusterKind.AUTO,
    drain: Annotated[bool, typer.Option("--drain", help="Drain a node of the context.")] = False,
    stand_ins: StandIns = None,
    without: Without = None,
    reports: Reports = Path("proof"),
    as_json: Json = False,
) -> None:
    """Deploy an image on Kubernetes with the shipped manifests and verify it there."""
    options = SmokeOptions(context=context, kind=cluster, drain=drain)
    config = pipeline.BuildConfig(
        version=version, stand_ins=stand_ins, without=tuple(without or ())
    )
    finish(pipeline.smoke_test(image, config, options, reports), as_json=as_json)
