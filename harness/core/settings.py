"""The settings table: name, default, range and meaning of each setting of the container."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from harness.core.errors import UsageError
from harness.core.regions import IMAGE_DIRECTORY
from harness.core.tables import table_rows

PREFIX = "FINFOCUS_"
BASE_IMAGE = "BASE_IMAGE"
MAX_RESTARTS = f"{PREFIX}MAX_RESTARTS"
STARTUP_SECONDS = f"{PREFIX}STARTUP_SECONDS"
UNHEALTHY_SECONDS = f"{PREFIX}UNHEALTHY_SECONDS"
PROCESSORS = "processors"
"""A default that the container computes."""

# As the shell reads it: spaces and tabs between the columns.
_ROW = re.compile(
    r"[ \t]*(?P<name>[A-Z_]+)[ \t]+(?P<default>[\w.:/@-]+)[ \t]+(?P<minimum>-|[0-9]{1,6})"
    r"[ \t]+(?P<kind>[a-z]+)[ \t]+(?P<description>\S.*?)[ \t]*",
    re.ASCII,
)
_NUMBER = re.compile("0|[1-9][0-9]{0,5}")  # no leading zero, at most 999999: as the shell accepts


class Kind(StrEnum):
    """Type of a setting's value."""

    SECONDS = "seconds"
    NUMBER = "number"
    FLAG = "flag"  # of the plugin: the Dockerfile sets it
    LIST = "list"
    TEXT = "text"
    BUILD = "build"  # an argument of the build

    @property
    def numeric(self) -> bool:
        """Whether prepare.sh reads it as a whole number and passes it to the supervisor."""
        return self in {Kind.SECONDS, Kind.NUMBER}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One row of the table."""

    name: str  # "FINFOCUS_MAX_RESTARTS"
    default: str
    minimum: int | None  # None if it is not numeric
    kind: Kind
    description: str

    @property
    def short_name(self) -> str:
        """The supervisor's name for it: "max_restarts"."""
        return self.name.removeprefix(PREFIX).lower()

    @property
    def number(self) -> int:
        """The default of a numeric setting; raises `UsageError` if it is computed or no number."""
        if not self.kind.numeric or not _NUMBER.fullmatch(self.default):
            raise UsageError(f"{self.name} has no fixed number as default. Fix image/settings.")
        return int(self.default)


def load_settings(image_directory: Path = IMAGE_DIRECTORY) -> Mapping[str, Setting]:
    """The rows of `image_directory/settings`, by name, in its order.

    Raises `UsageError` for a missing file, a row that is not `name default minimum kind
    description`, a default outside its range, or a duplicate name.
    """
    path = image_directory / "settings"
    settings: dict[str, Setting] = {}
    for where, line in table_rows(path):
        setting = _parse_row(line, where)
        if setting.name in settings:
            raise UsageError(f"{path.name}: {setting.name} appears twice. Delete one row.")
        settings[setting.name] = setting
    if not settings:
        raise UsageError(f"{path.name} lists no setting. Restore the file.")
    return settings


def default_number(name: str) -> int:
    """The default of the numeric setting `name`; raises `UsageError` if the table has none."""
    return _setting(name).number


def default_base(image_directory: Path = IMAGE_DIRECTORY) -> str:
    """The base image of a build without options; raises `UsageError` if the table has none."""
    return _setting(BASE_IMAGE, image_directory).default


def fixed_numbers() -> dict[str, int]:
    """The supervisor's numbers in a container without settings, except those it computes.

    By the supervisor's name. Raises `UsageError` if the table cannot be read.
    """
    return {
        setting.short_name: setting.number
        for setting in load_settings().values()
        if setting.kind.numeric and setting.default != PROCESSORS
    }


def _setting(name: str, image_directory: Path = IMAGE_DIRECTORY) -> Setting:
    settings = load_settings(image_directory)
    if name not in settings:
        raise UsageError(f"{name} is missing from {image_directory / 'settings'}. Restore its row.")
    return settings[name]


def _parse_row(line: str, where: str) -> Setting:
    row = _ROW.fullmatch(line)
    if not row or row["kind"] not in list(Kind):
        raise UsageError(
            f"{where}: {line.strip()!r} is not a row 'name default minimum kind description' with"
            f" a kind of {', '.join(Kind)}"
        )
    kind = Kind(row["kind"])
    if row["name"].startswith(PREFIX) is (kind is Kind.BUILD):
        raise UsageError(f"{where}: the container's settings, and no others, start with {PREFIX}")
    minimum = None if row["minimum"] == "-" else int(row["minimum"])
    if kind.numeric is not (minimum is not None):
        raise UsageError(f"{where}: only seconds and number have a minimum; write - for the others")
    default = row["default"]
    good = default == PROCESSORS or (_NUMBER.fullmatch(default) and int(default) >= (minimum or 0))
    if kind.numeric and not good:
        raise UsageError(f"{where}: {default!r} is not a number from {minimum} up")
    return Setting(
        name=row["name"],
        default=default,
        minimum=minimum,
        kind=kind,
        description=row["description"],
    )
