"""The settings table, what is generated from it, and what the supervisor reads of it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from harness.build.base import name_and_version
from harness.core.errors import UsageError
from harness.core.regions import IMAGE_DIRECTORY, load_regions
from harness.core.sections import outdated
from harness.core.settings import (
    MAX_RESTARTS,
    default_base,
    default_number,
    fixed_numbers,
    load_settings,
)
from harness.generate import FILES, sections

ROW = "FINFOCUS_X_SECONDS 5 1 seconds what it is\n"
# Set by entrypoint.sh and state.sh, or read from the table of regions.
NO_SETTINGS = {"regions", "state", "home", "lua", "haproxy", "shell", "metrics_port"}


def table(tmp_path: Path, text: str) -> Path:
    (tmp_path / "settings").write_text(text, encoding="utf-8")
    return tmp_path


def test_a_row_becomes_a_setting(tmp_path: Path) -> None:
    """Each column is read, and the description goes to the end of the line."""
    (setting,) = load_settings(table(tmp_path, f"# a comment\n\n \t{ROW}")).values()
    assert (setting.name, setting.short_name) == ("FINFOCUS_X_SECONDS", "x_seconds")
    assert (setting.number, setting.minimum, setting.kind) == (5, 1, "seconds")
    assert setting.description == "what it is"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("", "no setting", id="empty"),
        pytest.param("FINFOCUS_X 5 1 seconds\n", "line 1", id="no-description"),
        pytest.param("X 5 1 seconds text\n", "start with FINFOCUS_", id="name-without-prefix"),
        pytest.param("FINFOCUS_X a:1 - build text\n", "start with", id="build-with-prefix"),
        pytest.param("FINFOCUS_X 5 1 hours text\n", "line 1", id="unknown-kind"),
        pytest.param("FINFOCUS_X 5 - seconds text\n", "have a minimum", id="no-minimum"),
        pytest.param("FINFOCUS_X all 0 list text\n", "have a minimum", id="minimum-of-a-list"),
        pytest.param("FINFOCUS_X 0 1 seconds text\n", "from 1 up", id="below-minimum"),
        pytest.param("FINFOCUS_X 08 1 seconds text\n", "from 1 up", id="octal-for-the-shell"),
        pytest.param("FINFOCUS_X 1000000 1 number text\n", "from 1 up", id="too-large"),
        pytest.param("FINFOCUS_X many 1 number text\n", "from 1 up", id="no-number"),
        pytest.param(ROW + ROW, "FINFOCUS_X_SECONDS appears twice", id="twice"),
    ],
)
def test_bad_table_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """A table that is not one is refused with the line concerned."""
    with pytest.raises(UsageError, match=words):
        load_settings(table(tmp_path, text))


def test_missing_table_is_refused(tmp_path: Path) -> None:
    """Outside of a checkout the message says so."""
    with pytest.raises(UsageError, match="Run inside a checkout"):
        load_settings(tmp_path)


@pytest.mark.parametrize("name", ["FINFOCUS_START_PARALLEL", "FINFOCUS_REGIONS", "FINFOCUS_MARS"])
def test_a_default_that_is_no_fixed_number_is_refused(name: str) -> None:
    """A computed default, a list and an unknown setting are no number."""
    with pytest.raises(UsageError, match=name):
        default_number(name)


def test_fr_001_another_base_is_one_line(tmp_path: Path) -> None:
    """FR-001: the row names the base of a build; the Dockerfile and the reference follow it."""
    copies = [Path(shutil.copy(path, tmp_path)) for path in FILES]
    text = (IMAGE_DIRECTORY / "settings").read_text(encoding="utf-8")
    directory = table(tmp_path, text.replace(default_base(), "mirror/alpine:3.99@sha256:1a"))
    assert default_base(directory) == "mirror/alpine:3.99@sha256:1a"
    outdated(copies, sections(load_regions(), load_settings(directory)), write=True)
    dockerfile, reference, *_ = (path.read_text(encoding="utf-8") for path in copies)
    assert re.findall("ARG BASE_IMAGE=(.*)", dockerfile) == [default_base(directory)]
    assert f"starts from `{default_base(directory)}`" in reference
    with pytest.raises(UsageError, match="BASE_IMAGE is missing"):
        default_base(table(tmp_path, ROW))


@pytest.mark.parametrize(
    ("reference", "short"),
    [
        ("alpine:3.19", "alpine:3.19"),
        ("mirror:5000/library/alpine:3.19@sha256:1a", "alpine:3.19"),
        ("alpine@sha256:1a", "alpine"),
    ],
)
def test_name_and_version_of_a_base(reference: str, short: str) -> None:
    """Registry and digest do not matter for what the base is."""
    assert name_and_version(reference) == short


def test_every_number_is_read_and_no_other() -> None:
    """A row without a use, and a use without a row, is a mistake."""
    shell = (IMAGE_DIRECTORY / "lib" / "state.sh").read_text(encoding="utf-8")
    sources = [IMAGE_DIRECTORY / "supervisor.lua", *(IMAGE_DIRECTORY / "supervisor").glob("*.lua")]
    used = {
        name
        for path in sources
        for name in re.findall(r"\bsettings\.(?!cfg)([a-z_]+)", path.read_text(encoding="utf-8"))
    }
    used |= set(re.findall(r"ff_setting\[([a-z_]+)\]", shell))
    numbers = {setting.short_name for setting in load_settings().values() if setting.kind.numeric}
    assert used - NO_SETTINGS == numbers
    assert set(fixed_numbers()) == numbers - {"start_parallel"}


def test_a_new_setting_is_found_as_a_difference(tmp_path: Path) -> None:
    """One more row changes the documentation, and one more flag the Dockerfile."""
    copies = [Path(shutil.copy(path, tmp_path)) for path in FILES]
    text = (IMAGE_DIRECTORY / "settings").read_text(encoding="utf-8")
    flag = "FINFOCUS_PLUGIN_NEW true - flag what it is\n"
    settings = load_settings(table(tmp_path, text + ROW + flag))
    assert outdated(copies, sections(load_regions(), settings), write=True) == copies[:2]
    dockerfile, reference, *_ = (path.read_text(encoding="utf-8") for path in copies)
    assert "_ENDPOINT=true \\\n    FINFOCUS_PLUGIN_NEW=true\n" in dockerfile
    assert "| `FINFOCUS_X_SECONDS` | 5 s | 1 s | what it is |" in reference
    assert default_number(MAX_RESTARTS) == load_settings()[MAX_RESTARTS].number
