"""The main job, in order: engine, base, release, build, proof, report."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from harness.base_image import DEFAULT_BASE, find_base_image
from harness.build import build_image, write_record
from harness.console import say
from harness.emulation import processor_for
from harness.engine import Engine, container_engine
from harness.errors import NotProvenError, UsageError
from harness.model import Architecture, BuiltImage, StandInPolicy, VerifiedImage
from harness.proof import Proof
from harness.regions import IMAGE_DIRECTORY, load_regions
from harness.releases import RELEASES, check_version, find_release
from harness.report import write_reports
from harness.scan import ScanOptions, ScanReport, append_step_summary, scan_image
from harness.smoke.acceptance import SmokeOptions, smoke
from harness.stand_ins.release import StandInPlugin
from harness.sweep import sweep
from harness.verify.acceptance import verify
from harness.verify.build_checks import check_build
from harness.verify.recorder import Recorder


@dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """What to build, and from what."""

    version: str
    architecture: Architecture | None = None  # None for the engine's own
    base: str = DEFAULT_BASE
    release_url: str = RELEASES
    stand_ins: StandInPolicy = StandInPolicy.AUTO
    full_size: bool = False
    image_directory: Path = IMAGE_DIRECTORY
    output: Path = field(default_factory=lambda: Path("build-out"))
    reference: str = ""
    no_cache: bool = False


def build(engine: Engine, config: BuildConfig) -> BuiltImage:
    """Build the image of `config` and write its record to `{output}/build.json`."""
    version = check_version(config.version)
    architecture = config.architecture or Architecture(engine.architecture)
    regions = load_regions(config.image_directory)
    plugin = StandInPlugin(full_size=config.full_size)
    with processor_for(engine, architecture):  # first: without it the rest is in vain
        base = find_base_image(engine.client, config.base, architecture, config.stand_ins)
        with find_release(
            version,
            architecture,
            regions,
            base_url=config.release_url,
            policy=config.stand_ins,
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
    """Everything that the build and the acceptance run show of `image`."""
    regions = load_regions(config.image_directory)
    recorder = Recorder()
    with processor_for(engine, image.architecture):
        check_build(engine, image, config.image_directory, regions, recorder)
        return verify(
            engine,
            image.reference,
            regions,
            full_size=config.full_size,
            recorder=recorder,
            stand_ins=image.stand_ins,
        )


def verified(
    engine: Engine, image: BuiltImage, config: BuildConfig, reports: Path
) -> VerifiedImage:
    """`image` with its proof, written to `reports`; `NotProvenError` when it does not hold."""
    proof = report(examine(engine, image, config), reports)
    if not proof.proven:
        raise NotProvenError(proof.verdict)
    return VerifiedImage(built=image, proof=proof)


def prove(config: BuildConfig, reports: Path) -> Proof:
    """Build the image, examine it, and write the proof to `reports`."""
    with container_engine() as engine:
        sweep(engine.client)
        proof = examine(engine, build(engine, config), config)
    return report(proof, reports)


def verify_image(reference: str, reports: Path, *, full_size: bool) -> Proof:
    """Examine an image that is there already, and write the proof to `reports`."""
    with container_engine() as engine:
        sweep(engine.client)
        proof = verify(engine, reference, load_regions(), full_size=full_size)
    return report(proof, reports)


def scan_existing(reference: str, options: ScanOptions, output: Path) -> ScanReport:
    """Scan an image that is there already; the reports are in `output`."""
    with container_engine() as engine:
        found = scan_image(engine, reference, options, output)
    append_step_summary(found, os.environ)
    return found


def smoke_test(image: str, config: BuildConfig, options: SmokeOptions, reports: Path) -> Proof:
    """Deploy `image`, or one built for it when it is "", on Kubernetes; write the proof.

    A context's nodes pull the image themselves: it has to be given, else `UsageError`.
    """
    if options.context:
        if not image:
            raise UsageError("name the image that the nodes of the context shall pull")
        return report(smoke(None, image, load_regions(), options), reports)
    with container_engine() as engine:
        sweep(engine.client)
        built = None if image else build(engine, config)
        reference = built.reference if built else image
        stand_ins = built.stand_ins if built else ()
        proof = smoke(engine, reference, load_regions(), options, stand_ins=stand_ins)
    return report(proof, reports)


def report(proof: Proof, directory: Path) -> Proof:
    """Write every report and say where it is."""
    paths = write_reports(proof, directory, environ=os.environ)
    for stand_in in proof.stand_ins:
        say(f"  stand-in: {stand_in.kind} in place of {stand_in.replaces}: {stand_in.why}")
    say(f"{proof.verdict}; report: {paths.html}")
    return proof
