"""The regions table: which regions the image has and the public port of each."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import UsageError
from harness.core.labels import REGIONS
from harness.core.tables import table_rows

_PACKAGE = Path(__file__).resolve().parent.parent
_CHECKOUT = _PACKAGE.parent
REPOSITORY = _CHECKOUT if (_CHECKOUT / "image" / "regions").is_file() else _PACKAGE / "data"
"""The checkout, or an installed package's copy of `image/` and `deploy/`."""

IMAGE_DIRECTORY = REPOSITORY / "image"
METRICS_PORT = 9090
PLUGIN_PORT_OFFSET = 10000  # the plugin listens this far above its public port
BINARY_PREFIX = "finfocus-plugin-aws-public-"
SELECTION = "FINFOCUS_REGIONS"
"""The container's setting that selects the regions to run."""
ALL_BUT = "all but "
"""Prefix of the regions label if `docker build` was given WITHOUT but not REGIONS."""

REGION_NAME = "[a-z]{2}(?:-[a-z]+)+-[0-9]"
"""Regular expression of a region's name."""
# As the shell reads it: spaces and tabs only, no sign, no leading zero (octal in the shell).
_ROW = re.compile(rf"[ \t]*(?P<name>{REGION_NAME})[ \t]+(?P<port>[1-9][0-9]{{0,4}})[ \t]*")
_MAX_PORT = 65535 - PLUGIN_PORT_OFFSET


@dataclass(frozen=True, kw_only=True)
class Region:
    """One row of the table."""

    name: str  # "us-east-1"
    port: int  # public port in the container

    @property
    def binary(self) -> str:
        """File name of the region's binary."""
        return BINARY_PREFIX + self.name


def load_regions(image_directory: Path = IMAGE_DIRECTORY) -> tuple[Region, ...]:
    """The rows of `image_directory/regions`, in its order.

    Raises `UsageError` for a missing file, a row that is not `name port`, or a duplicate name or
    port.
    """
    path = image_directory / "regions"
    regions = tuple(_parse_row(line, where) for where, line in table_rows(path))
    seen = Counter([r.name for r in regions] + [str(r.port) for r in regions])
    if twice := [value for value, count in seen.items() if count > 1]:
        raise UsageError(f"{path.name}: {twice[0]} appears twice. Names and ports are unique.")
    if not regions:
        raise UsageError(f"{path.name} lists no region. Add a row 'name port'.")
    return regions


def _parse_row(line: str, where: str) -> Region:
    row = _ROW.fullmatch(line)
    if row and int(row["port"]) <= _MAX_PORT:
        return Region(name=row["name"], port=int(row["port"]))
    raise UsageError(f"{where}: {line.strip()!r} is not a row like 'us-east-1 8001'")


def names_in(texts: Iterable[str]) -> tuple[str, ...]:
    """The names in lists separated by commas or spaces, each once."""
    return tuple(
        dict.fromkeys(name for text in texts for name in re.split(r"[,\s]+", text) if name)
    )


def select(table: Sequence[Region], without: Iterable[str]) -> tuple[Region, ...]:
    """The regions of `table` except those in the lists `without`.

    Raises `UsageError` for a name that is not in `table`, and if no region is left.
    """
    left_out = names_in(without)
    _refuse_unknown(left_out, table, "--without")
    chosen = tuple(region for region in table if region.name not in left_out)
    if not chosen:
        raise UsageError("--without leaves out every region. An image needs at least one.")
    return chosen


def regions_in_image(labels: Mapping[str, str], table: Sequence[Region]) -> tuple[Region, ...]:
    """The regions of an image according to its `labels`, in the order of `table`.

    All of `table` if the image has no such label. Raises `UsageError` if the label names a region
    that is not in `table`.
    """
    label = labels.get(REGIONS, "")
    if not label:
        return tuple(table)
    all_but = label.startswith(ALL_BUT)
    names = names_in([label.removeprefix(ALL_BUT)])
    _refuse_unknown(names, table, "the image's regions label")
    return tuple(region for region in table if (region.name in names) is not all_but)


def _refuse_unknown(names: Iterable[str], table: Sequence[Region], where: str) -> None:
    known = [region.name for region in table]
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"{where} names {unknown[0]!r}, which is not one of {', '.join(known)}")
