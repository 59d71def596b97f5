"""Benchmark the image: `python -m tests.bench [VERSION] [--full-size [--settle SECONDS]]`."""

import argparse
import sys
from pathlib import Path

from harness.build.assets import LOCAL_VERSION
from harness.cli.entry import run
from harness.core.stages import StandInPolicy
from harness.pipeline import BuildConfig

from .suite import bench


def main() -> None:
    """Run the command line; raise `HarnessError` if it cannot measure."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("version", nargs="?", default=LOCAL_VERSION, help="default: %(default)s")
    parser.add_argument(
        "--stand-ins", type=StandInPolicy, choices=list(StandInPolicy), help="when to use stand-ins"
    )
    parser.add_argument(
        "--full-size", action="store_true", help="use stand-ins with price lists of the real size"
    )
    parser.add_argument(
        "--settle",
        type=float,
        default=0,
        help="with --full-size, measure memory again after this many seconds",
    )
    parser.add_argument("--results", type=Path, default=Path("bench-out"), help="output directory")
    given = parser.parse_args()
    config = BuildConfig(
        version=given.version, stand_ins=given.stand_ins, full_size=given.full_size
    )
    bench(config, given.results, settle=given.settle)


if __name__ == "__main__":
    sys.exit(run(main))
