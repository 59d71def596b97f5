"""The command line: parses, builds a config, calls the pipeline. No logic."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from harness import __version__, console, doctor, pipeline, runner
from harness.base_image import DEFAULT_BASE
from harness.build import build_record
from harness.cli_release import release
from harness.cli_scan import (
    DatabaseStandIn,
    DbRepository,
    EndOfLifePolicy,
    IgnoreFile,
    MaxDbAge,
    Offline,
    SkipDbUpdate,
    TrivyCache,
    Vex,
    scan_options,
)
from harness.engine import connect, container_engine, stop_leftover_engine
from harness.errors import NotProvenError
from harness.model import Architecture, StandInPolicy
from harness.proof import Proof
from harness.regions import load_regions, select
from harness.releases import LOCAL_VERSION, RELEASES
from harness.scan import EndOfLife, passed
from harness.scan.model import IGNORE_FILE
from harness.smoke.acceptance import SmokeOptions
from harness.smoke.clusters import ClusterKind
from harness.stand_ins.cluster.box import sweep_boxes
from harness.sweep import sweep as sweep_engine
from harness.wait_release import wait_for_release

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Builds one container image from many regional binaries, and proves it.",
)

Version = Annotated[
    str, typer.Argument(help=f"Release of the plugin, such as v0.1.5; {LOCAL_VERSION}: a stand-in.")
]
Arch = Annotated[Architecture | None, typer.Option(help="Default: that of the engine.")]
Base = Annotated[str, typer.Option(help="Base image.")]
Url = Annotated[str, typer.Option(help="Where the releases are.")]
StandIns = Annotated[
    StandInPolicy | None,
    typer.Option(help="When a stand-in may be used; default: never, auto for a -local version."),
]
Without = Annotated[
    list[str] | None,
    typer.Option(help="Region to leave out, repeatable; `missing`: those the release lacks."),
]
FullSize = Annotated[bool, typer.Option("--full-size", help="Stand-ins as large as the real ones.")]
Output = Annotated[Path, typer.Option(help="Directory for the build record.")]
Reports = Annotated[Path, typer.Option(help="Directory for the proof.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
ScanOutput = Annotated[Path, typer.Option(help="Directory for the reports of the scan.")]
Tag = Annotated[str, typer.Option(help="Name of the image; default: by version and architecture.")]


@app.callback()
def _options(
    *,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show tool output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show only problems.")] = False,
) -> None:
    console.configure(verbose=verbose, quiet=quiet)


@app.command()
def prove(
    version: Version = LOCAL_VERSION,
    *,
    arch: Arch = None,
    base: Base = DEFAULT_BASE,
    release_url: Url = RELEASES,
    stand_ins: StandIns = None,
    without: Without = None,
    full_size: FullSize = False,
    output: Output = Path("build-out"),
    reports: Reports = Path("proof"),
    as_json: Json = False,
) -> None:
    """Build the image, prove it, and write the report: the main job."""
    config = pipeline.BuildConfig(
        version=version,
        architecture=arch,
        base=base,
        release_url=release_url,
        stand_ins=stand_ins,
        without=tuple(without or ()),
        full_size=full_size,
        output=output,
    )
    _finish(pipeline.prove(config, reports), as_json=as_json)


@app.command()
def build(
    version: Version,
    *,
    arch: Arch = None,
    base: Base = DEFAULT_BASE,
    release_url: Url = RELEASES,
    stand_ins: StandIns = None,
    without: Without = None,
    full_size: FullSize = False,
    output: Output = Path("build-out"),
    tag: Tag = "",
    as_json: Json = False,
) -> None:
    """Build the image of a release and write its build record."""
    config = pipeline.BuildConfig(
        version=version,
        architecture=arch,
        base=base,
        release_url=release_url,
        stand_ins=stand_ins,
        without=tuple(without or ()),
        full_size=full_size,
        output=output,
        reference=tag,
    )
    with container_engine() as engine:
        image = pipeline.build(engine, config)
    if as_json:
        print(json.dumps(build_record(image, config.image_directory)))
    else:
        print(f"{image.reference} {image.image_id}")


@app.command()
def verify(
    image: Annotated[str, typer.Argument(help="Any image: a name, a digest or an ID.")],
    *,
    full_size: FullSize = False,
    reports: Reports = Path("proof"),
    as_json: Json = False,
) -> None:
    """Examine an image against every requirement."""
    _finish(pipeline.verify_image(image, reports, full_size=full_size), as_json=as_json)


app.command()(release)


@app.command()
def bench(
    version: Version = LOCAL_VERSION,
    *,
    stand_ins: StandIns = None,
    full_size: FullSize = False,
    settle: Annotated[
        float, typer.Option(help="With --full-size: seconds until memory is measured again.")
    ] = 0,
    results: Annotated[Path, typer.Option(help="Directory for the results.")] = Path("bench-out"),
) -> None:
    """Measure the image beside what it is compared with, in one run (needs the extra `bench`)."""
    # matplotlib is only there with the extra, and slow to import.
    from harness.bench.suite import bench as measure  # noqa: PLC0415

    config = pipeline.BuildConfig(version=version, stand_ins=stand_ins, full_size=full_size)
    measure(config, results, settle=settle)


@app.command("wait-release")
def wait_release(
    version: Version,
    *,
    arch: Annotated[list[Architecture] | None, typer.Option(help="Default: all.")] = None,
    release_url: Url = RELEASES,
    without: Without = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait at most.", min=0)] = 1800,
    interval: Annotated[float, typer.Option(help="Seconds between two looks.", min=0.1)] = 20,
) -> None:
    """Wait until a release has every asset: it is created before they are uploaded."""
    wait_for_release(
        version,
        arch or list(Architecture),
        select(load_regions(), without or ()),
        release_url,
        timeout=timeout,
        interval=interval,
    )


@app.command()
def scan(
    image: Annotated[str, typer.Argument(help="Any image: a name, a digest or an ID.")],
    *,
    db_repository: DbRepository = None,
    skip_db_update: SkipDbUpdate = False,
    offline: Offline = False,
    max_db_age: MaxDbAge = 7,
    ignore_file: IgnoreFile = IGNORE_FILE,
    vex: Vex = None,
    end_of_life: EndOfLifePolicy = EndOfLife.WARN,
    cache_dir: TrivyCache = None,
    stand_ins: DatabaseStandIn = StandInPolicy.NEVER,
    output: ScanOutput = Path("scan-out"),
    as_json: Json = False,
) -> None:
    """Scan an image with Trivy; fail when anything critical or high is in it."""
    options = scan_options(
        db_repository=db_repository,
        skip_db_update=skip_db_update,
        offline=offline,
        max_db_age=max_db_age,
        ignore_file=ignore_file,
        vex=vex,
        end_of_life=end_of_life,
        stand_ins=stand_ins,
        cache_dir=cache_dir,
    )
    report = pipeline.scan_existing(image, options, output)
    if as_json:
        print(json.dumps(report.to_json_dict(), ensure_ascii=False))
    passed(report)


@app.command()
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
    _finish(pipeline.smoke_test(image, config, options, reports), as_json=as_json)


@app.command()
def run(
    image: Annotated[str, typer.Argument(help="Image to run.")],
    *,
    region: Annotated[list[str] | None, typer.Option(help="Only these regions.")] = None,
    env: Annotated[list[str] | None, typer.Option(help="NAME=VALUE for the container.")] = None,
) -> None:
    """Run an image with its ports published on loopback; Ctrl+C stops it."""
    with container_engine() as engine:
        raise typer.Exit(runner.run(engine.client, image, region or [], env or []))


@app.command()
def logs(
    container: Annotated[str, typer.Argument(help="Container, or - to read standard input.")],
    *,
    region: Annotated[list[str] | None, typer.Option(help="Only these regions.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more.")] = False,
) -> None:
    """Show a container's log for people: one colour per region."""
    runner.show_logs(container, region or [], follow=follow)


@app.command("doctor")
def doctor_command(*, as_json: Json = False) -> None:
    """Say what this machine has, and what to do about what it lacks."""
    findings = doctor.examine()
    if as_json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings]))
    else:
        doctor.show(findings)
    raise typer.Exit(0 if all(finding.ok or finding.optional for finding in findings) else 3)


@app.command()
def sweep(
    *,
    everything: Annotated[bool, typer.Option("--all", help="Also what running runs use.")] = False,
) -> None:
    """Remove what killed runs left: containers and the harness's own engine."""
    client = connect()
    if client is not None:
        removed = sweep_engine(client, everything=everything)
        print(f"{len(removed)} removed")
    for name in sweep_boxes():
        print(f"{name} removed")
    if stop_leftover_engine():
        print("1 engine examined")


@app.command()
def version() -> None:
    """Print the harness's version."""
    print(__version__)


def _finish(proof: Proof, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(proof.to_json_dict(), ensure_ascii=False))
    if not proof.proven:
        raise NotProvenError(proof.verdict)
