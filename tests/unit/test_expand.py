"""Command options that come from the fields of a config."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from harness import pipeline
from harness import release as releasing
from harness.cli.expand import expanded
from harness.cli.main import app
from harness.core.omit import Omit
from harness.core.stages import Architecture, StandInPolicy
from harness.kubernetes.acceptance import SmokeOptions
from harness.kubernetes.clusters import ClusterKind
from harness.pipeline import BuildConfig
from harness.publish.plan import TagPolicy
from harness.release import ReleaseConfig
from harness.rescan import job
from harness.scan import EndOfLife, ScanOptions

SCAN = "--db-repository a/b --db-repository c/d --skip-db-update --offline --max-db-age 3"
SCAN_OPTIONS = ScanOptions(
    db_repositories=("a/b", "c/d"),
    skip_db_update=True,
    offline=True,
    max_db_age=3,
    ignore_file=Path("i.yaml"),
    vex=(Path("v.json"),),
    end_of_life=EndOfLife.FAIL,
)
BUILD = "--base b:1 --release-url http://127.0.0.1:9 --stand-ins auto --without sa-east-1"
BUILD_CONFIG = BuildConfig(
    version="v0.1.5",
    base="b:1",
    release_url="http://127.0.0.1:9",
    stand_ins=StandInPolicy.AUTO,
    without=("sa-east-1",),
)


class Seen(Exception):  # noqa: N818 - not an error
    """Carries what the pipeline was called with."""


def seen(words: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """The positional arguments with which the command called the pipeline."""

    def stop(*arguments: object, **_: object) -> None:
        raise Seen(*arguments)

    for module, name in (
        (pipeline, "prove"),
        (pipeline, "scan_existing"),
        (pipeline, "smoke_test"),
        (releasing, "release"),
        (job, "rescan"),
    ):
        monkeypatch.setattr(module, name, stop)
    result = CliRunner().invoke(app, words.split())
    assert isinstance(result.exception, Seen), result.output
    return result.exception.args


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        pytest.param("scan i:1", ("i:1", ScanOptions(), Path("scan-out")), id="scan-defaults"),
        pytest.param(
            f"scan i:1 {SCAN} --ignore-file i.yaml --vex v.json --end-of-life fail"
            " --cache-dir c --stand-ins auto --output o",
            (
                "i:1",
                replace(SCAN_OPTIONS, cache=Path("c"), stand_ins=StandInPolicy.AUTO),
                Path("o"),
            ),
            id="scan",
        ),
        pytest.param(
            f"rescan --issues a/b --github-api u {SCAN} --ignore-file i.yaml --vex v.json",
            (
                job.RescanConfig(
                    issues="a/b", api="u", scan=replace(SCAN_OPTIONS, end_of_life=EndOfLife.WARN)
                ),
            ),
            id="rescan",
        ),
        pytest.param("prove", (BuildConfig(), Path("proof")), id="prove-defaults"),
        pytest.param(
            f"prove v0.1.5 {BUILD} --arch arm64 --full-size --output o --reports r",
            (
                replace(
                    BUILD_CONFIG,
                    architecture=Architecture.ARM64,
                    full_size=True,
                    output=Path("o"),
                ),
                Path("r"),
            ),
            id="prove",
        ),
        pytest.param(
            "smoke i:1 --context c --cluster kind --drain --version v0.1.5 --without sa-east-1",
            (
                "i:1",
                BuildConfig(version="v0.1.5", without=("sa-east-1",)),
                SmokeOptions(context="c", kind=ClusterKind.KIND, drain=True),
                Path("proof"),
            ),
            id="smoke",
        ),
        pytest.param(
            f"release v0.1.5 {BUILD} {SCAN} --ignore-file i.yaml --vex v.json --end-of-life fail"
            " --registry r --repository a/b --registry-ca ca --from s --from t --dry-run --resume"
            " --unsigned --no-latest --floating --output o",
            (
                ReleaseConfig(
                    build=BUILD_CONFIG,
                    registry="r",
                    repository="a/b",
                    ca=Path("ca"),
                    sources=(Path("s"), Path("t")),
                    dry_run=True,
                    resume=True,
                    unsigned=True,
                    tags=TagPolicy(latest=False, floating=True),
                    scan=SCAN_OPTIONS,
                    output=Path("o"),
                ),
            ),
            id="release",
        ),
        pytest.param(
            "release v0.1.5",
            (ReleaseConfig(build=BuildConfig(version="v0.1.5")),),
            id="release-defaults",
        ),
    ],
)
def test_every_option_reaches_the_config(
    words: str, wanted: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each option fills its field, and without an option the field's default holds."""
    for name in ("HARNESS_REPOSITORY", "GITHUB_API_URL"):
        monkeypatch.delenv(name, raising=False)
    assert seen(words, monkeypatch) == wanted


@dataclass(frozen=True, kw_only=True)
class Inner:
    size: Annotated[int, typer.Option(help="Size.")] = 1
    hidden: int = 7


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str = "none"
    made: Annotated[str, typer.Option(help="Made.")] = field(default_factory=lambda: "made")
    inner: Annotated[Inner, Omit("size")] = field(default_factory=Inner)


def run(command: Any, words: str) -> str:
    small = typer.Typer()
    small.command()(command)
    result = CliRunner().invoke(small, words.split())
    return f"{result.exit_code} {result.output}"


def test_an_own_parameter_fills_the_field_of_its_name() -> None:
    """A parameter of the command replaces the field's option and fills the field."""

    @expanded
    def command(name: str, *, config: Outer) -> None:
        print(name, config)

    assert f"0 you {Outer(name='you')}" in run(command, "you")


def test_an_omitted_field_is_no_option() -> None:
    """A field that the command omits, and one without an option, keep their default."""

    @expanded
    def command(*, config: Outer) -> None:
        print(config)

    assert run(command, "--size 3").startswith("2 ")
    assert run(command, "--hidden 3").startswith("2 ")
    assert str(Outer(made="x")) in run(command, "--made x")


def test_one_name_for_two_options_is_a_defect() -> None:
    """Two configs with an option of one name are refused when the command is declared."""

    def command(*, one: Inner, two: Inner) -> None:
        print(one, two)

    with pytest.raises(TypeError, match="command has two options size"):
        expanded(command)
