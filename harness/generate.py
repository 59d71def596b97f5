"""Writes what other files repeat of the regions table, so that adding a region is one line.

`python -m harness.generate` writes, `--check` only compares and fails on a difference.
A file holds the lines between `generated: NAME` and `end of generated`.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from harness.regions import IMAGE_DIRECTORY, METRICS_PORT, REPOSITORY, Region, load_regions


def sections(regions: Sequence[Region]) -> Mapping[str, str]:
    """The text of every generated section, by name."""
    return {
        "one layer per region": "\n".join(
            f"COPY --from=download /layers/{region.name}/ /" for region in regions
        ),
        "ports": "EXPOSE " + " ".join(str(region.port) for region in regions),
        "table of ports": "\n".join(
            ["| port | what |", "|---|---|"]
            + [f"| {region.port} | {region.name} |" for region in regions]
            + [f"| {METRICS_PORT} | `/metrics`, `/readyz`, `/readyz/{{region}}`, `/livez` |"]
        ),
    }


def render(text: str, regions: Sequence[Region]) -> str:
    """`text` with its generated sections made from `regions`."""
    for name, content in sections(regions).items():
        head = rf"(?P<head>^[^\n]*generated: {re.escape(name)}[^\n]*\n)"
        pattern = head + r".*?(?P<end>^[^\n]*end of generated)"
        text = re.sub(
            pattern,
            # A replacement string would have its backslashes interpreted.
            partial(_replace, content),
            text,
            flags=re.MULTILINE | re.DOTALL,
        )
    return text


def _replace(content: str, match: re.Match[str]) -> str:
    return f"{match['head']}{content}\n{match['end']}"


def outdated(paths: Sequence[Path], regions: Sequence[Region], *, write: bool) -> list[Path]:
    """Those of `paths` that differ from the table; they are rewritten when `write`."""
    different = []
    for path in paths:
        text = path.read_text(encoding="utf-8")
        expected = render(text, regions)
        if text != expected:
            different.append(path)
            if write:
                path.write_text(expected, encoding="utf-8")
    return different


def main() -> int:
    """Command line; exit 1 when `--check` finds a difference."""
    check = "--check" in sys.argv[1:]
    paths = [IMAGE_DIRECTORY / "Dockerfile", REPOSITORY / "README.md"]
    different = outdated(paths, load_regions(), write=not check)
    for path in different:
        print(f"{path.name} {'differs from' if check else 'written from'} image/regions")
    if check and different:
        print("run: python -m harness.generate")
    return int(check and bool(different))


if __name__ == "__main__":
    sys.exit(main())
