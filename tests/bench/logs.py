"""Compare the log writer with `cat` and a bash loop: throughput, CPU per line, delay."""

import multiprocessing
import os
import resource
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import HarnessError
from harness.core.process import ensure_host_tools
from harness.core.regions import IMAGE_DIRECTORY, Region
from harness.core.temporary import SHARED_MEMORY, temporary_directory
from harness.core.wait import wait_until

from .measure import Measure, alternate, measure, median, percentile

ROUNDS = 3
LINE_BYTES = 190
LINES = {"log writer": 60_000, "cat": 200_000, "bash loop": 2_000}  # per stream
FLOOD_SECONDS = 120.0
PACED_LINES = 1_500  # per stream, for the delay
PACE_SECONDS = 0.002  # between lines of a stream
_LINE = (
    '{"level":"info","plugin_name":"aws-public","plugin_version":"0.1.5","operation":"GetProjected",'
    '"time":"2026-11-24T02:29:30Z","message":"%s"}'
)
# The usual alternative: a `read` loop per stream, https://mywiki.wooledge.org/BashFAQ/001
_LOOP = r"""
while IFS= read -r line; do
  case $line in
    "{"*) printf '{"region":"%s",%s\n' "$1" "${line#?}" ;;
    *) printf '[%s] %s\n' "$1" "$line" ;;
  esac
done
"""


@dataclass(frozen=True, kw_only=True)
class Flow:
    """Throughput of twelve streams through one kind of reader."""

    lines_per_second: float
    cpu_per_line: float  # seconds


Command = Callable[[Sequence[Region], Path], list[list[str]]]


def _log_writer(regions: Sequence[Region], directory: Path) -> list[list[str]]:
    streams = [f"{region.name}={directory / region.name}" for region in regions]
    script = str(IMAGE_DIRECTORY / "logmux.lua")
    return [["lua5.3", script, "--mark", "bench", "--state", str(directory), *streams]]


def _cat(regions: Sequence[Region], directory: Path) -> list[list[str]]:
    return [["cat", str(directory / region.name)] for region in regions]


def _loop(regions: Sequence[Region], directory: Path) -> list[list[str]]:
    script = f'{{ {_LOOP}\n}} <"$2"'
    return [["bash", "-c", script, "bash", r.name, str(directory / r.name)] for r in regions]


READERS: dict[str, Command] = {"log writer": _log_writer, "cat": _cat, "bash loop": _loop}


def measure_logs(regions: Sequence[Region]) -> Iterator[Measure]:
    """Yield rows for throughput, CPU per line and delay, compared with `cat` and the bash loop."""
    ensure_host_tools(wanted_for="the benchmark of the log writer")
    flows: dict[str, list[Flow]] = {name: [] for name in READERS}

    def throughput(name: str) -> float:
        flow = _flood(READERS[name], regions, LINES[name])
        flows[name].append(flow)
        return flow.lines_per_second

    rates = dict(
        zip(READERS, alternate(ROUNDS, *(lambda n=n: throughput(n) for n in READERS)), strict=True)
    )
    ours, cat, loop = (median(rates[name]) for name in READERS)
    yield measure(
        group="log lines",
        name=f"log lines of {LINE_BYTES} bytes, {len(regions)} writers",
        value=ours,
        unit="lines/s",
        beside={"bash loop": loop, "cat": cat},
        floor=25 * loop,
        rule="25 × bash loop",
        runs=rates["log writer"],
    )
    per_core = {name: 1 / median([f.cpu_per_line for f in flows[name]]) for name in READERS}
    yield measure(
        group="log lines",
        name="log lines per second of one core",
        value=per_core["log writer"],
        unit="lines/s",
        beside={"bash loop": per_core["bash loop"], "cat": per_core["cat"]},
        floor=500_000,
        runs=tuple(1 / flow.cpu_per_line for flow in flows["log writer"]),
    )
    yield from _delays(regions)


def _delays(regions: Sequence[Region]) -> Iterator[Measure]:
    delays = {name: _paced(reader, regions) for name, reader in READERS.items()}
    worst = {name: 1000 * percentile(values, 99) for name, values in delays.items()}
    yield measure(
        group="log delay",
        name="delay of a log line, 99th percentile",
        value=worst["log writer"],
        unit="ms",
        beside={"bash loop": worst["bash loop"], "cat": worst["cat"]},
        runs=(worst["log writer"],),
    )


def _line(message: str) -> bytes:
    """Return a line as the plugin writes it, `LINE_BYTES` long including the newline."""
    padding = "x" * max(LINE_BYTES - 1 - len(_LINE % message), 0)
    return (_LINE % (message + padding)).encode() + b"\n"


class _Streams:
    """One FIFO per region, held open, and the processes that read them."""

    def __init__(self, reader: Command, regions: Sequence[Region], stack: ExitStack) -> None:
        made = temporary_directory("bench", parent=SHARED_MEMORY)
        self.directory = stack.enter_context(made)
        self.paths = [self.directory / region.name for region in regions]
        for path in self.paths:
            os.mkfifo(path)
        self.held = [os.open(path, os.O_RDWR) for path in self.paths]
        self.output, output = os.pipe()
        self.readers = [
            subprocess.Popen(command, stdout=output, stdin=subprocess.DEVNULL)
            for command in reader(regions, self.directory)
        ]
        os.close(output)
        for process in self.readers:
            stack.callback(process.wait)
            stack.callback(process.kill)

    def await_all(self, writers: Sequence[subprocess.Popen[bytes]]) -> None:
        """Wait until every writer has exited; raise `HarnessError` if a reader exits first."""

        def ended() -> bool:
            if any(process.poll() is not None for process in self.readers):
                for writer in writers:
                    writer.kill()
                raise HarnessError(f"{self.readers[0].args!r} exited early: see its output above")
            return all(writer.poll() is not None for writer in writers)

        wait_until(ended, timeout=FLOOD_SECONDS, interval=0.005, what="all lines are written")

    def close(self) -> None:
        """Close the streams."""
        for file in self.held:
            os.close(file)


def _flood(reader: Command, regions: Sequence[Region], lines: int) -> Flow:
    """Write every stream at full speed; CPU time is the total of all readers."""
    with ExitStack() as stack:
        streams = _Streams(reader, regions, stack)
        source = streams.directory / "lines"
        source.write_bytes(_line("cost estimated") * lines)
        drain = subprocess.Popen(["cat"], stdin=streams.output, stdout=subprocess.DEVNULL)
        os.close(streams.output)
        began = time.monotonic()
        writers = [
            subprocess.Popen(["sh", "-c", 'exec cat "$1" >"$2"', "sh", str(source), str(path)])
            for path in streams.paths
        ]
        streams.await_all(writers)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        streams.close()
        for process in streams.readers:
            process.wait()
        seconds = time.monotonic() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        drain.wait()
    total = lines * len(regions)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Flow(lines_per_second=total / seconds, cpu_per_line=cpu / total)


def _paced(reader: Command, regions: Sequence[Region]) -> list[float]:
    """Return the seconds from write to read of each line, at a rate that all readers sustain."""
    with ExitStack() as stack:
        streams = _Streams(reader, regions, stack)
        writer = multiprocessing.get_context("fork").Process(
            target=_write_paced, args=(streams.held,), daemon=True
        )
        writer.start()
        streams.close()
        delays = []
        with os.fdopen(streams.output, "rb") as output:
            for line in output:
                now = time.monotonic_ns()
                stamp = line.partition(b"sent at ")[2].partition(b" ")[0]
                delays.append((now - int(stamp)) / 1e9)
        if not delays:
            writer.kill()
        writer.join()
    return delays


def _write_paced(files: Sequence[int]) -> None:
    """Write a line to every stream, pause, and repeat."""
    for _ in range(PACED_LINES):
        for file in files:
            os.write(file, _line(f"sent at {time.monotonic_ns()} "))
        time.sleep(PACE_SECONDS)  # sets the rate of the load
