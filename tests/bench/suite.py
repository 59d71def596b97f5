"""Run every benchmark, in order."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.build.image import default_reference
from harness.core.console import say, step
from harness.core.recorder import Recorder
from harness.core.regions import load_regions
from harness.core.stages import Architecture
from harness.core.temporary import temporary_directory
from harness.engine.provision import Engine, container_engine
from harness.engine.pull import find_image
from harness.machine.sweep import sweep
from harness.pipeline import BuildConfig, build
from harness.verify.acceptance import describe
from harness.verify.target import Target

from . import output
from .bare import copy_binaries
from .builds import measure_builds
from .front import measure_front
from .full_size import measure_full_size
from .lifecycle import measure_lifecycle
from .logs import measure_logs
from .measure import Measure, render_measures
from .regional import measure_regional
from .steady import measure_steady
from .supervisors import measure_supervisors


def bench(config: BuildConfig, directory: Path, *, settle: float) -> list[Measure]:
    """Build the image of `config`, measure it, and write the results to `directory`.

    At full size only start, memory and stops are measured: the rest does not depend on the size.
    After `settle` seconds memory is measured again, unless it is 0.
    """
    measures: list[Measure] = []
    with container_engine() as engine:
        sweep(engine.client)
        try:
            with step("measuring") as progress:
                for measure in _measures(engine, config, settle):
                    progress.news(measure.check.title)
                    measures.append(measure)
        finally:  # keep the results measured before an error
            if measures:
                _results(engine, config, measures, directory)
    return measures


def _results(
    engine: Engine, config: BuildConfig, measures: Sequence[Measure], directory: Path
) -> None:
    target = _target(engine, config)
    plot = output.write(measures, describe(engine), target.stand_ins(), directory)
    say(render_measures(measures))
    say(f"results: {plot.with_suffix('.json')}, {plot}")


def _measures(engine: Engine, config: BuildConfig, settle: float) -> Iterator[Measure]:
    if config.full_size:
        yield from _full_size(engine, config, settle)
    else:
        yield from _measure(engine, config)


def _measure(engine: Engine, config: BuildConfig) -> Iterator[Measure]:
    yield from measure_builds(engine, config)
    target = _target(engine, config)
    with temporary_directory("bench") as directory:
        binaries = copy_binaries(engine.client, target.reference, directory)
        yield from measure_lifecycle(target, binaries)
        yield from measure_supervisors(binaries, target.regions)
        yield from measure_regional(target, directory)
    yield from measure_steady(target)
    yield from measure_front(target)
    yield from measure_logs(target.regions)


def _full_size(engine: Engine, config: BuildConfig, settle: float) -> Iterator[Measure]:
    build(engine, config)
    target = _target(engine, config)
    with temporary_directory("bench") as directory:
        binaries = copy_binaries(engine.client, target.reference, directory)
        yield from measure_full_size(target, binaries, settle=settle)
        yield from measure_regional(target, directory)


def _target(engine: Engine, config: BuildConfig) -> Target:
    architecture = config.architecture or Architecture(engine.architecture)
    reference = config.reference or default_reference(config.version, architecture)
    return Target(
        client=engine.client,
        reference=reference,
        image=find_image(engine.client, reference),
        regions=load_regions(config.image_directory),
        recorder=Recorder(),
    )
