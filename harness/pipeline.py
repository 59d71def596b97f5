"""The main job, in order: engine, base, release, build, proof, report."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.build.assets import (
    LOCAL_VERSION,
    RELEASES,
    check_version,
    chosen,
    find_release,
    is_local,
)
from harness.build.base import find_base_image
from harness.build.image import build_image, write_record
from harness.core.console import say
from harness.core.errors import NotProvenError, UsageError
from harness.core.proof import Proof
from harness.core.recorder import Recorder
from harness.core.regions import IMAGE_DIRECTORY, Region, load_regions, regions_in_image, select
from harness.core.settings import BASE_IMAGE, default_base
from harness.core.stages import Architecture, BuiltImage, StandInPolicy, VerifiedImage
from harness.engine.emulation import processor_for
from harness.engine.provision import Engine, container_engine
from harness.engine.pull import find_image
from harness.machine.sweep import sweep
from harness.oci import ImageLayout
from harness.report import write_reports
from harness.scan import ScanOptions, ScanReport, append_step_summary, scan_image
from harness.stand_ins.release import StandInPlugin
from harness.verify.acceptance import verify
from harness.verify.build_checks import check_build
from harness.verify.regional import verify_region

if TYPE_CHECKING:
    from harness.kubernetes.acceptance import SmokeOptions


@dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """What to build, and from which inputs."""

    version: str = LOCAL_VERSION
    architecture: Annotated[
        Architecture | None, typer.Option("--arch", help="Architecture; default: the engine's.")
    ] = None
    base: Annotated[
        str, typer.Option(help="Base image.", show_default=f"{BASE_IMAGE} in image/settings")
    ] = field(default_factory=default_base)
    release_url: Annotated[str, typer.Option(help="Base URL of the releases.")] = RELEASES
    stand_ins: Annotated[
        StandInPolicy | None,
        typer.Option(help="When to use stand-ins; default: never, or auto for a -local version."),
    ] = None
    plugin: StandInPolicy | None = None  # for the plugin; None: from `stand_ins`, `version`
    without: Annotated[
        tuple[str, ...],
        typer.Option(
            help="Region to leave out (repeatable). `missing`: those the release lacks; not with"
            " `harness release`."
        ),
    ] = ()
    full_size: Annotated[bool, typer.Option("--full-size", help="Use stand-ins of real size.")] = (
        False
    )
    image_directory: Path = IMAGE_DIRECTORY
    output: Annotated[Path, typer.Option(help="Directory for the build record.")] = Path(
        "build-out"
    )
    reference: Annotated[
        str, typer.Option("--tag", help="Image name; default: from version and architecture.")
    ] = ""
    no_cache: bool = False

    def __post_init__(self) -> None:
        """Raise `UsageError` for an invalid combination, before any work starts."""
        if self.without:
            chosen(load_regions(self.image_directory), self.without)
        if self._by_name and StandInPolicy.NEVER in (self.stand_ins, self.plugin):
            raise UsageError(
                f"{self.version} is a stand-in version, which --stand-ins never forbids."
                " Use a release such as v0.1.5, or drop --stand-ins never."
            )

    @property
    def _by_name(self) -> bool:
        """Whether the version alone selects a stand-in plugin; a custom release URL is tried."""
        return is_local(self.version) and self.release_url == RELEASES

    @property
    def policy(self) -> StandInPolicy:
        """When a stand-in may be used for anything but the plugin."""
        local = StandInPolicy.AUTO if is_local(self.version) else StandInPolicy.NEVER
        return self.stand_ins or local

    @property
    def plugin_policy(self) -> StandInPolicy:
        """When a stand-in may be used for the plugin."""
        return self.plugin or (StandInPolicy.ALWAYS if self._by_name else self.policy)


def build(engine: Engine, config: BuildConfig) -> BuiltImage:
    """Build the image of `config` and write its record to `{output}/build.json`."""
    version = check_version(config.version)
    architecture = config.architecture or Architecture(engine.architecture)
    regions = load_regions(config.image_directory)
    plugin = StandInPlugin(full_size=config.full_size)
    with processor_for(engine, architecture):  # first: nothing else works without it
        base = find_base_image(engine.client, config.base, architecture, config.policy)
        with find_release(
            version,
            architecture,
            regions,
            without=config.without,
            base_url=config.release_url,
            policy=config.plugin_policy,
            plugin=plugin,
        ) as release:
            image = build_image(
                engine.client,
                config.image_directory,
                base,
                release,
                config.reference,
                no_cache=config.no_cache,
            )
    write_record(image, config.image_directory, config.output / "build.json")
    return image


def examine(engine: Engine, image: BuiltImage, config: BuildConfig) -> Proof:
    """Run the build checks and the acceptance run on `image`."""
    regions = image.release.regions
    recorder = Recorder()
    with processor_for(engine, image.architecture):
        check_build(engine, image, config.image_directory, regions, recorder)
        proof = verify(
            engine,
            image.reference,
            regions,
            full_size=config.full_size,
            recorder=recorder,
            stand_ins=image.stand_ins,
        )
    return _about_regions(proof, regions, load_regions(config.image_directory))


def verified(
    engine: Engine, image: BuiltImage, config: BuildConfig, reports: Path
) -> VerifiedImage:
    """Examine `image` and write the proof to `reports`; `NotProvenError` if a check fails.

    Only a proof that fails is in the job summary: the sealed image's proof has more and follows.
    """
    proof = examine(engine, image, config)
    report(proof, reports, summary=not proof.proven)
    if not proof.proven:
        raise NotProvenError(proof.verdict)
    return VerifiedImage(built=image, proof=proof)


def verified_region(
    engine: Engine,
    built: BuiltImage,
    reports: Path,
    image: ImageLayout,
    region: Region,
    *,
    full_size: bool,
) -> Proof:
    """Examine `image`, derived from `built` for `region`; write `reports` if a check fails."""
    proof = verify_region(engine, image, region, built, full_size=full_size)
    return proof if proof.proven else report(proof, reports / region.name)


def prove(config: BuildConfig, reports: Path) -> Proof:
    """Build the image, examine it, and write the proof to `reports`."""
    with container_engine() as engine:
        sweep(engine.client)
        return report(examine(engine, build(engine, config), config), reports)


def verify_image(reference: str, reports: Path, *, full_size: bool) -> Proof:
    """Examine an existing image and write the proof to `reports`."""
    with container_engine() as engine:
        sweep(engine.client)
        regions = regions_of(engine, reference)
        proof = verify(engine, reference, regions, full_size=full_size)
        return report(_about_regions(proof, regions, load_regions()), reports)


def regions_of(engine: Engine, reference: str) -> tuple[Region, ...]:
    """The regions in image `reference`, from its label; `UsageError` if there is no such image."""
    labels = find_image(engine.client, reference).labels
    return regions_in_image(labels, load_regions())


def _about_regions(proof: Proof, regions: Sequence[Region], table: Sequence[Region]) -> Proof:
    """`proof` with the image's regions, and the regions of `table` that the image lacks."""
    return replace(
        proof,
        regions=tuple(region.name for region in regions),
        left_out=tuple(region.name for region in table if region not in regions),
    )


def scan_existing(reference: str, options: ScanOptions, output: Path) -> ScanReport:
    """Scan an existing image and write the reports to `output`."""
    with container_engine() as engine:
        found = scan_image(engine, reference, options, output)
    append_step_summary(found, os.environ)
    return found


def smoke_test(image: str, config: BuildConfig, options: "SmokeOptions", reports: Path) -> Proof:
    """Deploy `image` on Kubernetes and write the proof; build an image if `image` is "".

    With a context, the nodes pull the image themselves. Raises `UsageError` if `image` is "" then.
    """
    from harness.kubernetes.acceptance import smoke  # noqa: PLC0415 (slow; no other stage needs it)

    if options.context:
        if not image:
            raise UsageError("--context needs an image that its nodes can pull. Pass IMAGE.")
        # The labels of an image that only the nodes pull are unknown here: use --without.
        regions = select(load_regions(), config.without)
        proof = smoke(None, image, regions, options)
        return report(_about_regions(proof, regions, load_regions()), reports)
    with container_engine() as engine:
        sweep(engine.client)
        built = None if image else build(engine, config)
        reference = built.reference if built else image
        stand_ins = built.stand_ins if built else ()
        regions = regions_of(engine, reference)
        proof = smoke(engine, reference, regions, options, stand_ins=stand_ins)
        # Inside the block: an engine that fails to stop must not lose the report.
        return report(_about_regions(proof, regions, load_regions()), reports)


def report(proof: Proof, directory: Path, *, summary: bool = True) -> Proof:
    """Write every report, by default also to the job summary, and print its path."""
    paths = write_reports(proof, directory, environ=os.environ if summary else {})
    for stand_in in proof.stand_ins:
        say(f"  stand-in: {stand_in.kind} in place of {stand_in.replaces}: {stand_in.why}")
    say(f"{proof.verdict}; report: {paths.html}")
    return proof
