"""Writing the reports."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.proof import Proof, Status
from harness.report import write, write_reports
from harness.report.sample import sample_proof

NAMES = ["junit.xml", "proof.html", "proof.json", "proof.md"]


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_four_files(tmp_path: Path) -> None:
    """The directory is created if missing and contains exactly the four reports."""
    directory = tmp_path / "a" / "b"
    paths = write_reports(sample_proof(), directory, environ={})
    assert names_in(directory) == NAMES
    assert Proof.from_json_dict(json.loads(paths.json.read_text("utf-8"))) == sample_proof()
    assert {paths.json.name, paths.junit.name, paths.markdown.name, paths.html.name} == set(NAMES)


def test_no_format_calls_a_proof_with_stand_ins_just_proven(tmp_path: Path) -> None:
    """Every format's verdict names the kinds of stand-ins and the omitted regions."""
    passed = tuple(c for c in sample_proof().checks if c.status is Status.PASSED)
    proof = replace(
        sample_proof(), checks=passed, regions=("us-east-1",), left_out=("us-gov-west-1",)
    )
    outcome = "roven with stand-ins: plugin, release server"
    write_reports(proof, tmp_path, environ={})
    for path in tmp_path.iterdir():
        text = path.read_text("utf-8")
        assert outcome in text, path.name
        assert "1 of 2 regions; left out: us-gov-west-1" in text, path.name
    assert f"<h1>P{outcome}</h1>" in (tmp_path / "proof.html").read_text("utf-8")


def test_files_can_be_read_by_others(tmp_path: Path) -> None:
    """A later step of a job that runs as another user can read the reports."""
    paths = write_reports(sample_proof(), tmp_path, environ={})
    assert paths.json.stat().st_mode & 0o777 == 0o644


def test_step_summary_is_appended(tmp_path: Path) -> None:
    """The Markdown is appended to the job summary, after the output of other steps."""
    summary = tmp_path / "summary"
    summary.write_text("earlier\n", encoding="utf-8")
    environ = {"GITHUB_STEP_SUMMARY": str(summary)}
    paths = write_reports(sample_proof(), tmp_path / "out", environ=environ)
    written = paths.markdown.read_text("utf-8")
    assert summary.read_text("utf-8") == f"earlier\n{written}"


def test_rendering_error_leaves_old_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If one format cannot be rendered, the previous run's reports are kept."""

    def broken(proof: Proof) -> str:
        raise RuntimeError("broken")

    before = write_reports(sample_proof(), tmp_path, environ={}).json.read_text("utf-8")
    monkeypatch.setattr(write, "render_html", broken)
    with pytest.raises(RuntimeError, match="broken"):
        write_reports(replace(sample_proof(), version="v9"), tmp_path, environ={})
    assert (tmp_path / "proof.json").read_text("utf-8") == before
    assert names_in(tmp_path) == NAMES


@pytest.mark.parametrize(
    "name", [pytest.param(name, id=name) for name in ("os.fsync", "pathlib.Path.replace")]
)
def test_writing_error_leaves_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """If the disk fails, neither a partial report nor a temporary file is left."""

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(name, full)
    with pytest.raises(OSError, match="no space left"):
        write_reports(sample_proof(), tmp_path, environ={})
    assert names_in(tmp_path) == []


def test_environment_values_stay_out(tmp_path: Path) -> None:
    """No environment value appears in a report."""
    secret = "hunter2-secret"
    environ = {"GITHUB_TOKEN": secret, "HOME": secret}
    write_reports(sample_proof(), tmp_path, environ=environ)
    assert not any(secret in path.read_text("utf-8") for path in tmp_path.iterdir())
