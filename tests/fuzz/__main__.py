"""Run libFuzzer on each target for a given time: `python -m tests.fuzz --seconds 60 [WORD]...`.

Inputs that reach new code are added to the target's corpus after minimization. Inputs that break a
target are kept there too, so that the replay in `nox -s tests` fails until it is fixed; libFuzzer's
output is in the report directory.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness.core.files import replace_directory
from tests.fuzz.targets import TARGETS
from tests.fuzz.targets.target import Target

ENGINE = [sys.executable, "-m", "tests.fuzz.engine"]
LONGEST_RUN_SECONDS = 20  # limit for one input
MEMORY_MB = 1024

_STATUS = re.compile(r"cov: (\d+) ft: (\d+)")
_RUNS = re.compile(r"stat::number_of_executed_units: *(\d+)")
_SECONDS = re.compile(r"^Done \d+ runs in (\d+) second", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of fuzzing one target."""

    target: Target
    executions: int
    edges: int
    seconds: int
    broken_by: tuple[Path, ...]
    log: Path

    @property
    def row(self) -> str:
        """Format as a table row."""
        found = ", ".join(path.name for path in self.broken_by) or "nothing"
        return (
            f"| `{self.target.name}` | {self.executions:,} | {self.edges:,} | {self.seconds} |"
            f" {found} |"
        )


def main() -> int:
    """Fuzz the selected targets; return 1 if any breaks."""
    parser = argparse.ArgumentParser(prog="nox -s fuzz --")
    parser.add_argument("words", nargs="*", help="only targets whose name contains one of these")
    parser.add_argument("--seconds", type=int, default=60, help="fuzzing time per target")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="targets to run in parallel"
    )
    parser.add_argument("--report", type=Path, default=Path("fuzz-out"), help="directory for logs")
    asked = parser.parse_args()
    chosen = [t for t in TARGETS.values() if not asked.words or _named(t.name, asked.words)]
    if not chosen:
        parser.error(f"no target matches; choose from: {', '.join(TARGETS)}")
    replace_directory(asked.report)
    with ThreadPoolExecutor(asked.jobs) as pool:
        outcomes = list(pool.map(lambda t: fuzz(t, asked.seconds, asked.report), chosen))
    table = [
        f"{datetime.now(UTC):%Y-%m-%d}, {asked.seconds} s for each target:",
        "",
        "| target | executions | edges covered | seconds | found |",
        "|---|--:|--:|--:|---|",
        *(outcome.row for outcome in outcomes),
    ]
    (asked.report / "fuzz.md").write_text("\n".join(table) + "\n", encoding="utf-8")
    print("\n".join(table))
    for outcome in outcomes:
        for path in outcome.broken_by:
            print(f"{outcome.target.name} failed on {path}; see {outcome.log}", file=sys.stderr)
    return 1 if any(outcome.broken_by for outcome in outcomes) else 0


def _named(name: str, words: list[str]) -> bool:
    return any(word in name for word in words)


def fuzz(target: Target, seconds: int, report: Path) -> Outcome:
    """Fuzz one target, keep new inputs, and parse libFuzzer's last output."""
    target.corpus.mkdir(parents=True, exist_ok=True)
    log, words = report / f"{target.name}.log", report / f"{target.name}.dict"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words), encoding="ascii")
    with tempfile.TemporaryDirectory(prefix=f"fuzz-{target.name}-") as made:
        found, broken = Path(made, "found"), Path(made, "broken")
        found.mkdir()
        broken.mkdir()
        with log.open("w", encoding="utf-8") as file:
            options = [f"-max_total_time={seconds}", "-print_final_stats=1", f"-dict={words}"]
            options += [f"-artifact_prefix={broken}/", f"-rss_limit_mb={MEMORY_MB}"]
            options += [f"-timeout={LONGEST_RUN_SECONDS}", str(found), str(target.corpus)]
            done = _engine(target, options, file)
            kept = _keep_breaking(target, broken)
            if done == 0:
                _keep_new(target, found, file)
    return _outcome(target, log, kept, done, seconds)


def _engine(target: Target, options: list[str], log: object) -> int:
    command = [*ENGINE, target.name, *options]
    return subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode  # type: ignore[call-overload,no-any-return]


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def _keep_new(target: Target, found: Path, log: object) -> None:
    """Add inputs to the corpus that reach edges not yet covered by it."""
    # Edge counts are ignored: they would keep hundreds of inputs.
    _engine(target, ["-merge=1", "-use_counters=0", str(target.corpus), str(found)], log)


def _keep_breaking(target: Target, broken: Path) -> tuple[Path, ...]:
    """Add the breaking input to the corpus under libFuzzer's name, "crash-…" or "timeout-…"."""
    return tuple(
        Path(shutil.copy(path, target.corpus / path.name)) for path in sorted(broken.iterdir())
    )


def _outcome(
    target: Target, log: Path, kept: tuple[Path, ...], status: int, seconds: int
) -> Outcome:
    text = log.read_text(encoding="utf-8", errors="replace")
    seen = _STATUS.findall(text)
    if not kept and (status != 0 or not seen):
        raise SystemExit(f"libFuzzer did not run {target.name}: see {log}")
    runs, took = _RUNS.search(text), _SECONDS.search(text)
    return Outcome(
        target=target,
        executions=int(runs[1]) if runs else 0,
        edges=max((int(edges) for edges, _ in seen), default=0),
        seconds=int(took[1]) if took else seconds,
        broken_by=kept,
        log=log,
    )


if __name__ == "__main__":
    sys.exit(main())
