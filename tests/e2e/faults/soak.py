"""Many restarts of regions, with what the container holds meanwhile: nothing may grow."""

from __future__ import annotations

import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import HarnessError
from harness.core.regions import BINARY_PREFIX
from harness.verify.inside import shell

from .killers import Killers
from .world import NAMES, PROXY, WRITER, World

ENVIRON = {"FINFOCUS_STABLE_SECONDS": "0"}
GROWTH_KIB = {"supervisor": 512, "log_writer": 2048, "proxy": 4096}
# Of what is open at one moment only; the proxy's follow the connections.
GROWTH_FILES = {
    "supervisor_files": 2,
    "log_writer_files": 2,
    "proxy_files": 16,
    "state_files": 2,
    "processes": 3,
}
SAMPLES = 50
LEAST_STEP = len(NAMES)  # restarts between two samples: each region once

_LOOK = """
for pid in {pids}; do
  while read -r key value _; do [ "$key" = VmRSS: ] && echo "$value"; done </proc/$pid/status
  set -- /proc/$pid/fd/*; echo $#
done
set -- /dev/shm/finfocus.*/*; echo $#
set -- /proc/[0-9]*; echo $#
"""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What the container holds at one moment; memory is resident, in KiB."""

    seconds: float
    restarts: int
    supervisor: int
    supervisor_files: int
    log_writer: int
    log_writer_files: int
    proxy: int
    proxy_files: int
    state_files: int
    processes: int


def soak(world: World, restarts: int, names: Sequence[str] = NAMES) -> list[Sample]:
    """Kill each of the regions `names` as soon as it is back, `restarts` times in all.

    Requests to every region go on.
    """
    look = _looker(world)
    began, samples = time.monotonic(), [_sample(0, 0, look())]
    step = max(LEAST_STEP, restarts // SAMPLES)
    with Killers(world, names) as killers:
        for due in range(step, restarts + step, step):
            done = killers.await_restarts(min(due, restarts))
            samples.append(_sample(time.monotonic() - began, done, look()))
    killers.await_all_up()
    return samples


def _looker(world: World) -> Callable[[], list[int]]:
    """A function that gives the numbers of a sample in one look."""
    parts = [world.supervisor(), world.pids(WRITER)[0], world.pids(PROXY)[0]]
    script = _LOOK.format(pids=" ".join(map(str, parts)))
    return lambda: [int(word) for word in shell(world.container, script).split()]


def _sample(seconds: float, restarts: int, numbers: Sequence[int]) -> Sample:
    names = [field.name for field in dataclasses.fields(Sample)][2:]
    return Sample(
        seconds=round(seconds, 1), restarts=restarts, **dict(zip(names, numbers, strict=True))
    )


def growth(samples: Sequence[Sample]) -> list[str]:
    """What grew from the second quarter of the samples to the last, in words.

    Every running process has a file of the supervisor, so the most that is normal is what is open
    before the first kill.
    """
    quarter = max(1, len(samples) // 4)
    early, late = samples[quarter : 2 * quarter] or samples[:1], samples[-quarter:]
    grown = []
    for name, limit in GROWTH_KIB.items():
        more = _median(late, name) - _median(early, name)
        if more > limit:
            grown.append(f"{name} grew by {more:.0f} KiB, more than {limit}")
    for name, limit in GROWTH_FILES.items():
        normal = max(_median(early, name), _median(samples[:1], name))
        if _median(late, name) > normal + limit:
            grown.append(f"{name}: {normal:.0f}, then {_median(late, name):.0f}")
    return grown


def _median(samples: Sequence[Sample], name: str) -> float:
    return statistics.median(float(getattr(sample, name)) for sample in samples)


def left_over(world: World, samples: Sequence[Sample]) -> list[str]:
    """What grew, and plugins without a region, in words."""
    stray = len(world.pids(BINARY_PREFIX)) - len(NAMES)
    return [*growth(samples), *([f"{stray} more plugins than regions"] if stray else [])]


def soaked(restarts: int, world: World) -> None:
    """The action of a row: soak, and fail with what grew."""
    samples = soak(world, restarts)
    world.strike()  # until now it was one fault
    world.note(f"{samples[-1].restarts} restarts in {samples[-1].seconds:.0f} s")
    if grown := left_over(world, samples):
        raise HarnessError("; ".join(grown))


def write(samples: Sequence[Sample], directory: Path, killed: str) -> None:
    """Write `soak.json` and, where matplotlib is there, `soak.png`."""
    directory.mkdir(parents=True, exist_ok=True)
    rows = [dataclasses.asdict(sample) for sample in samples]
    (directory / "soak.json").write_text(json.dumps(rows) + "\n", encoding="utf-8")
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 (only for the plot)
    except ImportError:
        return
    figure = Figure(figsize=(8, 5), layout="constrained")
    memory, files = figure.subplots(2, sharex=True)
    at = [sample.restarts for sample in samples]
    for name in GROWTH_KIB:
        label = name.replace("_", " ")
        memory.plot(at, [getattr(sample, name) / 1024 for sample in samples], label=label)
        files.plot(at, [getattr(sample, f"{name}_files") for sample in samples], label=label)
    files.plot(at, [sample.processes for sample in samples], label="processes", linestyle=":")
    files.plot(at, [sample.state_files for sample in samples], label="state files", linestyle=":")
    title = f"while {killed} is killed and started"
    memory.set(ylabel="resident MiB", ylim=(0, None), title=title)
    files.set(ylabel="open files", xlabel="restarts", ylim=(0, None))
    for axes in (memory, files):
        axes.grid(alpha=0.3)
        axes.legend(loc="lower right", fontsize="small", ncols=5)
    figure.savefig(directory / "soak.png", dpi=110)
