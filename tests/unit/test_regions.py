"""The regions table and what is generated from it."""

from pathlib import Path

import pytest

from harness.core.errors import UsageError
from harness.core.labels import REGIONS
from harness.core.regions import IMAGE_DIRECTORY, load_regions, regions_in_image, select
from harness.core.sections import outdated, render
from harness.core.settings import load_settings
from harness.generate import FILES, sections

NEW = "aq-new-1"  # in no table


def table(tmp_path: Path, text: str) -> Path:
    (tmp_path / "regions").write_text(text, encoding="utf-8")
    return tmp_path


def test_fr_012_the_table_begins_with_the_required_regions_and_ports() -> None:
    """FR-012 (a port per region): the required regions keep their ports when others are added."""
    names = [
        "us-east-1",
        "us-west-2",
        "eu-west-1",
        "ap-southeast-1",
        "ap-southeast-2",
        "ap-northeast-1",
        "ap-south-1",
        "ca-central-1",
        "sa-east-1",
        "us-gov-west-1",
        "us-gov-east-1",
        "us-west-1",
    ]
    required = [(name, 8001 + index) for index, name in enumerate(names)]
    assert [(r.name, r.port) for r in load_regions()][: len(names)] == required


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("", "no region", id="empty"),
        pytest.param("# only a comment\n", "no region", id="comment"),
        pytest.param("us-east-1\n", "line 1", id="no-port"),
        pytest.param("us-east-1 8001 x\n", "line 1", id="too-many-words"),
        pytest.param("us-east-1 08001\n", "line 1", id="octal-for-the-shell"),
        pytest.param("us-east-1 8001\r\n", "line 1", id="carriage-return"),
        pytest.param("us-east-1 ٨٠٠١\n", "line 1", id="digits-beyond-ascii"),
        pytest.param("us-east-1 eighty\n", "line 1", id="port-not-a-number"),
        pytest.param("us-east-1 70000\n", "line 1", id="port-too-large"),
        pytest.param("us-east-1 60000\n", "line 1", id="no-room-for-the-plugin"),
        pytest.param("$(reboot) 8001\n", "line 1", id="not-a-name"),
        pytest.param("us-east-1 8001\nus-east-1 8002\n", "us-east-1 appears", id="name-twice"),
        pytest.param("us-east-1 8001\nus-west-1 8001\n", "8001 appears", id="port-twice"),
    ],
)
def test_bad_table_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """An invalid table is rejected with the line number."""
    with pytest.raises(UsageError, match=words):
        load_regions(table(tmp_path, text))


def test_missing_table_is_refused(tmp_path: Path) -> None:
    """Outside of a checkout the message says so."""
    with pytest.raises(UsageError, match="Run inside a checkout"):
        load_regions(tmp_path)


def test_generated_files_are_up_to_date() -> None:
    """The Dockerfile and the reference match the tables."""
    assert outdated(FILES, sections(load_regions(), load_settings()), write=False) == []


def test_drift_is_found_and_written(tmp_path: Path) -> None:
    """An added region is reported as a difference, and written only on request."""
    path = tmp_path / "Dockerfile"
    path.write_text((IMAGE_DIRECTORY / "Dockerfile").read_text(encoding="utf-8"), encoding="utf-8")
    text = (IMAGE_DIRECTORY / "regions").read_text(encoding="utf-8")
    regions = load_regions(table(tmp_path, text + f"{NEW} 8999\n"))
    assert outdated([path], sections(regions, load_settings()), write=False) == [path]
    assert NEW not in path.read_text(encoding="utf-8")
    assert outdated([path], sections(regions, load_settings()), write=True) == [path]
    assert f"COPY --from=download /layers/{NEW}/ /" in path.read_text(encoding="utf-8")
    assert outdated([path], sections(regions, load_settings()), write=False) == []


def test_text_without_sections_stays_as_it_is() -> None:
    """Only text between the markers is rewritten."""
    assert render("hello\n", sections(load_regions(), load_settings())) == "hello\n"


@pytest.mark.parametrize(
    "without",
    [
        pytest.param(["us-gov-west-1", "us-gov-east-1"], id="repeated"),
        pytest.param(["us-gov-west-1,us-gov-east-1"], id="commas"),
        pytest.param([" us-gov-west-1  us-gov-east-1 "], id="blanks"),
    ],
)
def test_fr_018_regions_are_left_out_only_when_named(without: list[str]) -> None:
    """FR-018 (missing tarball fails the build): only named regions are left out."""
    table = load_regions()
    assert select(table, []) == select(table, [""]) == table
    left_out = {"us-gov-west-1", "us-gov-east-1"}
    assert select(table, without) == tuple(r for r in table if r.name not in left_out)


@pytest.mark.parametrize(
    ("without", "words"),
    [
        pytest.param(["mars"], "'mars', which is not one of us-east-1, ", id="unknown"),
        pytest.param([r.name for r in load_regions()], "every region", id="all"),
    ],
)
def test_fr_018_what_cannot_be_left_out_is_refused(without: list[str], words: str) -> None:
    """FR-018: an unknown region, or leaving out all, is a usage error."""
    with pytest.raises(UsageError, match=words):
        select(load_regions(), without)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        pytest.param({}, [r.name for r in load_regions()], id="no-label"),
        pytest.param({REGIONS: "sa-east-1,us-east-1"}, ["us-east-1", "sa-east-1"], id="list"),
        pytest.param(
            {REGIONS: "all but us-gov-west-1, us-gov-east-1"},
            [r.name for r in load_regions() if "gov" not in r.name],
            id="all-but",
        ),
    ],
)
def test_image_says_which_regions_it_has(labels: dict[str, str], names: list[str]) -> None:
    """The label is read in both forms; an image without it has all regions."""
    assert [region.name for region in regions_in_image(labels, load_regions())] == names


def test_label_of_another_table_is_refused() -> None:
    """An image with a region that this checkout does not know cannot be judged by it."""
    with pytest.raises(UsageError, match=f"regions label names '{NEW}'"):
        regions_in_image({REGIONS: f"us-east-1,{NEW}"}, load_regions())
