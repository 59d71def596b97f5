"""Run the fault table with options: `python -m tests.e2e.faults [--docs] [--times N] [WORD]...`.

Without options `nox -s faults` runs the rows as tests instead, see `test_faults.py`. `--defects`
checks that the rows notice defects; `--full-size` runs only the rows that need price lists of the
real size.

With `--soak` the words are parts of the names of the regions to kill.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.cli.entry import run
from harness.core.console import say
from harness.core.proof import Status
from harness.core.recorder import Recorder
from harness.core.regions import REPOSITORY
from harness.core.stages import BuiltImage
from harness.engine.provision import Engine, container_engine
from harness.machine.sweep import sweep
from harness.pipeline import BuildConfig, build

from . import defect, soak
from .defect import DEFECTS
from .report import Run, write_report
from .row import STOP_SECONDS, run_row
from .table import TABLE
from .world import NAMES, world_of

DOCS = REPOSITORY / "docs" / "faults.md"


def main() -> int:
    """Run the rows whose names have one of the words, all when there is none."""
    parser = argparse.ArgumentParser(prog="faults")
    parser.add_argument("words", nargs="*", help="parts of names, of rows or regions; default: all")
    parser.add_argument("--times", type=int, default=1, help="runs of the whole table")
    parser.add_argument("--docs", action="store_true", help="put the table into docs/faults.md")
    parser.add_argument("--defects", action="store_true", help="do the rows notice defects?")
    parser.add_argument("--soak", type=int, metavar="RESTARTS", help="kill regions so often")
    parser.add_argument(
        "--full-size", action="store_true", help="the rows of price lists of the real size alone"
    )
    parser.add_argument("--output", type=Path, default=Path("faults-out"))
    options = parser.parse_args()
    asked = [row for row in TABLE if _is_asked_for(row.name, options.words)]
    rows = [row for row in asked if row.full_size == options.full_size]
    with container_engine() as engine:
        sweep(engine.client)
        image = build(engine, BuildConfig(output=options.output, full_size=options.full_size))
        if options.soak:
            return _soak(engine, image, options)
        if options.defects:
            return _defects(engine, image, options)
        runs: list[Run] = []
        for _ in range(options.times):
            recorder = Recorder()
            outcomes = [run_row(engine.client, image.reference, row, recorder) for row in rows]
            runs.append(Run(outcomes=outcomes))
            markdown = write_report(engine, image, runs, options.output)
            say(f"{runs[-1].summary}; report: {options.output / 'faults.md'}")
    if options.docs:
        _document("measured", markdown)
    return 0 if all(run.kept == len(run.outcomes) for run in runs) else 1


def _is_asked_for(name: str, words: Sequence[str]) -> bool:
    return not words or any(word in name for word in words)


def _document(section: str, markdown: str) -> None:
    """Put `markdown` between the marks of `section`."""
    marks = re.compile(rf"(<!-- {section}[^>]*-->\n).*?(<!-- end of {section} -->)", re.DOTALL)
    text = DOCS.read_text(encoding="utf-8")
    found = marks.sub(lambda match: f"{match[1]}{markdown}{match[2]}", text)
    DOCS.write_text(found, encoding="utf-8")


def _defects(engine: Engine, image: BuiltImage, options: argparse.Namespace) -> int:
    """Put each defect into the image and see that the rows notice it."""
    notices, recorder = [], Recorder()
    for one in DEFECTS:
        if not _is_asked_for(one.name, options.words):
            continue
        for notice in defect.examine(engine, image.reference, one):
            requirement = defect.ROWS[notice.row].requirement
            with recorder.check(requirement, f"{notice.row} notices {one.name}") as observation:
                observation.measured = notice.noticed
                observation.expect(notice.noticed, f"not noticed: {'; '.join(notice.problems)}")
            notices.append(notice)
    markdown = defect.as_markdown(notices)
    (options.output / "defects.md").write_text(markdown, encoding="utf-8")
    if options.docs:
        _document("defects", markdown)
    return _exit_code(recorder)


def _soak(engine: Engine, image: BuiltImage, options: argparse.Namespace) -> int:
    names = [name for name in NAMES if _is_asked_for(name, options.words)]
    killed = "every region" if len(names) == len(NAMES) else ", ".join(names)
    recorder = Recorder()
    with recorder.check("FR-017", f"{killed}: {options.soak} restarts, nothing grows") as found:
        with world_of(engine.client, image.reference, soak.ENVIRON, {}) as world:
            world.start()
            world.traffic.start()
            samples = soak.soak(world, options.soak, names)
            found.problems.extend(soak.left_over(world, samples))
            world.traffic.stop()
            failed = world.traffic.failures_without(frozenset(names))
            found.expect(not failed, f"{failed} failed requests of other regions")
            world.container.signal("SIGTERM")
            gone = world.container.wait_dead(STOP_SECONDS)
            found.expect(gone, f"not gone {STOP_SECONDS:g} s after SIGTERM")
        log, numbered = world.container.log, world.numbered
        for what, count in (
            ("are lost", numbered.lost),
            ("came twice", numbered.doubled),
            ("are bad", log.problem_count),
        ):
            found.expect(not count, f"{count} log lines {what}")
        soak.write(samples, options.output, killed)
        last = samples[-1]
        load = f"{world.traffic.requests.total()} requests, {log.lines} log lines"
        found.measured = f"{last.restarts} restarts in {last.seconds:.0f} s, {load}"
    return _exit_code(recorder)


def _exit_code(recorder: Recorder) -> int:
    return 0 if all(check.status is Status.PASSED for check in recorder.checks) else 1


if __name__ == "__main__":
    sys.exit(run(main))
