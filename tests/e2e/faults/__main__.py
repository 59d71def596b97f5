"""Runs the fault table: `python -m tests.e2e.faults [--docs] [--defects] [--times N] [WORD]...`.

With `--full-size` it is the rows that need price lists of the real size, and no other.

With `--soak` the words are parts of the names of the regions to kill.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.core.console import say, warn
from harness.core.regions import REPOSITORY
from harness.core.stages import BuiltImage
from harness.engine.provision import Engine, container_engine
from harness.machine.sweep import sweep
from harness.pipeline import BuildConfig, build

from . import defect, soak
from .defect import DEFECTS
from .report import Run, write_report
from .row import STOP_SECONDS, Outcome, Row, run_row
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
            runs.append(Run(outcomes=list(_run(engine, image, rows))))
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
    notices = []
    for one in DEFECTS:
        if not _is_asked_for(one.name, options.words):
            continue
        for notice in defect.examine(engine, image.reference, one):
            tell = say if notice.noticed else warn
            tell(f"  {'✓' if notice.noticed else '✗'} {one.name}: {notice.row}: {notice.problems}")
            notices.append(notice)
    markdown = defect.as_markdown(notices)
    (options.output / "defects.md").write_text(markdown, encoding="utf-8")
    if options.docs:
        _document("defects", markdown)
    return 0 if all(notice.noticed for notice in notices) else 1


def _soak(engine: Engine, image: BuiltImage, options: argparse.Namespace) -> int:
    names = [name for name in NAMES if _is_asked_for(name, options.words)]
    with world_of(engine.client, image.reference, soak.ENVIRON, {}) as world:
        world.start()
        world.traffic.start()
        samples = soak.soak(world, options.soak, names)
        problems = soak.left_over(world, samples)
        world.traffic.stop()
        if failed := world.traffic.failures_without(frozenset(names)):
            problems.append(f"{failed} failed requests of other regions")
        world.container.signal("SIGTERM")
        if not world.container.wait_dead(STOP_SECONDS):
            problems.append(f"not gone {STOP_SECONDS:g} s after SIGTERM")
    log, numbered = world.container.log, world.numbered
    problems += [
        f"{count} log lines {what}"
        for what, count in (
            ("are lost", numbered.lost),
            ("came twice", numbered.doubled),
            ("are bad", log.problem_count),
        )
        if count
    ]
    killed = "every region" if len(names) == len(NAMES) else ", ".join(names)
    soak.write(samples, options.output, killed)
    last = samples[-1]
    load = f"{world.traffic.requests.total()} requests, {log.lines} log lines"
    say(f"{last.restarts} restarts in {last.seconds:.0f} s, {load}: {problems or 'steady'}")
    return 1 if problems else 0


def _run(engine: Engine, image: BuiltImage, rows: Sequence[Row]) -> Iterator[Outcome]:
    for row in rows:
        outcome = run_row(engine.client, image.reference, row)
        numbers = f"{outcome.requests} requests, {outcome.failed} failed, exit {outcome.exit_code}"
        if outcome.kept:
            said = "; ".join([f"{outcome.seconds:.1f} s", *outcome.notes])
            say(f"  ✓ {row.name}: {numbers}, {said}")
        else:
            words = "\n      ".join([*outcome.problems, *outcome.notes])
            warn(f"  ✗ {row.name}: {numbers}\n      {words}")
        yield outcome


if __name__ == "__main__":
    sys.exit(main())
