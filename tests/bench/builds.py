"""Measure a build without a cache, and a build without changes."""

from collections.abc import Iterator
from dataclasses import replace

from harness.engine.provision import Engine
from harness.pipeline import BuildConfig, build

from .measure import Measure, measure

WARM_LIMIT = 3.0


def measure_builds(engine: Engine, config: BuildConfig) -> Iterator[Measure]:
    """Yield rows for a cold and a warm build; the warm build leaves the image of `config`."""
    cold = build(engine, replace(config, no_cache=True))
    warm = build(engine, config)
    yield measure(group="build", name="build, cold", value=cold.seconds, unit="s")
    yield measure(
        group="build",
        name="build, warm",
        value=warm.seconds,
        unit="s",
        beside={"cold": cold.seconds},
        bound=WARM_LIMIT,
    )
