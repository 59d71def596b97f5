"""Sealing: only proven and scanned images, and every later change is detected."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from urllib3.exceptions import ProtocolError

from harness.core.errors import EnvironmentMissingError, NotProvenError, UsageError
from harness.core.files import OWN
from harness.core.stages import Architecture
from harness.oci import canonical_json
from harness.publish.seal import PROVENANCE, SEAL, seal, unseal
from harness.scan.model import Count, LayerClass, Severity

from .made import BASE, VERSION, proof_of, proven, refuted, scanned, sealed


def test_sealed_image_comes_back_from_disk_as_it_was(tmp_path: Path) -> None:
    """Another machine reads what was sealed."""
    made = sealed(tmp_path, Architecture.ARM64)
    again = unseal(made.directory)
    assert again == made
    assert (again.version, again.architecture) == (VERSION, Architecture.ARM64)
    assert again.proof.image.image_id == again.image.config.digest


def _other_proof(made: Any) -> Any:
    proof = proof_of("sha256:" + "1" * 64)
    return replace(made, verified=replace(made.verified, proof=proof))


def _failed_scan(made: Any) -> Any:
    critical = Count(severity=Severity.CRITICAL, layer=LayerClass.PLUGIN, fixable=True, number=1)
    return replace(made, report=replace(made.report, problems=("one",), counts=(critical,)))


def _other_scan(made: Any) -> Any:
    return replace(made, report=replace(made.report, image_id="sha256:" + "1" * 64))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        pytest.param(refuted, "not proven: 1 failed", id="proof-refuted"),
        pytest.param(_other_proof, "the proof is for sha256:1111", id="proof-of-another-image"),
        pytest.param(_failed_scan, "failed: 1 critical", id="SC-004-scan-failed"),
        pytest.param(_other_scan, "the scan is for sha256:1111", id="scan-of-another-image"),
    ],
)
def test_nothing_unproven_is_sealed(broken: Any, message: str, tmp_path: Path) -> None:
    """An image is sealed only with its own proof and its own scan, both passed."""
    client, made = scanned(tmp_path / "scan")
    with pytest.raises(NotProvenError, match=message):
        seal(client, broken(made), tmp_path / "sealed", proven)
    assert not (tmp_path / "sealed").exists()


@pytest.mark.parametrize(
    "name", ["proof.json", "provenance.json", "build.json", "sbom.cdx.json", "trivy.sarif"]
)
@pytest.mark.parametrize("damage", ["change", "remove"])
def test_every_change_after_the_seal_is_found(name: str, damage: str, tmp_path: Path) -> None:
    """A changed or missing file is named."""
    path = sealed(tmp_path).file(name)
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(NotProvenError, match=name):
        unseal(path.parent)


def test_file_that_was_added_is_found(tmp_path: Path) -> None:
    """A file added after sealing is rejected."""
    made = sealed(tmp_path)
    made.file("extra").write_text("x", encoding="utf-8")
    with pytest.raises(NotProvenError, match="extra differs from what was sealed"):
        unseal(made.directory)


def test_layer_that_was_changed_is_found(tmp_path: Path) -> None:
    """One flipped bit in a layer."""
    made = sealed(tmp_path)
    path = made.image.path(made.image.layers[1])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(NotProvenError, match="differs from what was sealed"):
        unseal(made.directory)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param(
            {"image_id": "sha256:" + "2" * 64}, "but sha256:2222.* was tested", id="image-id"
        ),
        pytest.param({"architecture": "arm64"}, "sealed as arm64", id="architecture"),
        pytest.param({"schema_version": 99}, "another version", id="version"),
        pytest.param({"scan": {"passed": False, "verdict": "failed"}}, "failed", id="scan"),
        pytest.param({"manifest": {}}, "cannot read .*seal.json", id="manifest"),
        pytest.param({"files": []}, r"seal.json.files: \[\] is not of type dict", id="files"),
        pytest.param({"stand_ins": [{"x": 1}]}, r"stand_ins\[0\].kind is missing", id="stand-in"),
        pytest.param({"scan": {"passed": "yes"}}, "passed: 'yes' is not of type", id="scan-type"),
    ],
)
def test_seal_that_does_not_fit_is_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """A seal that contradicts image, proof or scan is rejected."""
    made = sealed(tmp_path)
    content = json.loads(made.file(SEAL).read_bytes()) | changes
    made.file(SEAL).write_bytes(canonical_json(content))
    with pytest.raises(NotProvenError, match=message):
        unseal(made.directory)


@pytest.mark.parametrize("defect", [AttributeError, KeyError, TypeError])
def test_our_own_defect_is_not_taken_for_a_broken_seal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, defect: type[Exception]
) -> None:
    """A mistake in the harness is reported as one when sealing and when loading."""

    def broken(*_: object, **__: object) -> None:
        raise defect("a mistake")

    made = sealed(tmp_path)
    monkeypatch.setattr("harness.publish.seal.verify_layout", broken)
    with pytest.raises(defect, match="a mistake"):
        unseal(made.directory)
    client, ready = scanned(tmp_path / "scan")
    monkeypatch.setattr("harness.oci.export.write_layout", broken)
    with pytest.raises(defect, match="a mistake"):
        seal(client, ready, tmp_path / "other", proven)


def test_unfinished_seal_is_none(tmp_path: Path) -> None:
    """Without its last file the directory is not sealed; the message has the fix."""
    made = sealed(tmp_path)
    made.file(SEAL).unlink()
    with pytest.raises(NotProvenError, match="create it again with --export"):
        unseal(made.directory)


@pytest.mark.parametrize("breaks", [None, ProtocolError("Connection broken")])
def test_engine_that_stops_in_the_middle_leaves_nothing(
    breaks: Exception | None, tmp_path: Path
) -> None:
    """A truncated or broken stream is an environment error; nothing is left."""
    client, made = scanned(tmp_path / "scan")
    whole = list(client.api.get_image(""))

    def half(_: str) -> Iterator[bytes]:
        yield from whole[: len(whole) // 2]
        if breaks:
            raise breaks

    client.api.get_image = half
    with pytest.raises(EnvironmentMissingError, match="stopped while exporting"):
        seal(client, made, tmp_path / "sealed", proven)
    assert not (tmp_path / "sealed").exists()


def test_export_removes_no_foreign_files(tmp_path: Path) -> None:
    """A directory with anything but an earlier export stays as it is, also one with a seal.json."""
    client, made = scanned(tmp_path / "scan")
    target = tmp_path / "checkout"
    target.mkdir()
    for name in ("precious", SEAL):
        (target / name).write_text("{}", encoding="utf-8")
        with pytest.raises(UsageError, match=r"checkout is not empty.*nothing was removed"):
            seal(client, made, target, proven)
        assert (target / name).read_text(encoding="utf-8") == "{}"


def test_export_replaces_an_empty_an_earlier_and_an_unfinished_one(tmp_path: Path) -> None:
    """These three are the harness's own; nothing of the old content stays, and no mark is left."""
    client, made = scanned(tmp_path / "scan")
    target = tmp_path / "sealed"
    target.mkdir()
    first = seal(client, made, target, proven)
    (target / "stray").write_text("x", encoding="utf-8")
    assert seal(client, made, target, proven) == first
    assert not (target / "stray").exists()
    (target / SEAL).unlink()
    (target / OWN).touch()  # as a killed export leaves it
    assert seal(client, made, target, proven) == first
    assert not list(target.rglob(OWN))


def test_provenance_names_every_input(tmp_path: Path) -> None:
    """The statement is about the manifest and lists every tarball, the base and the sources."""
    made = sealed(tmp_path)
    content = json.loads(made.file(PROVENANCE).read_bytes())
    assert content["subject"][0]["digest"]["sha256"] == made.image.manifest.digest[7:]
    definition = content["predicate"]["buildDefinition"]
    names = {m["name"] for m in definition["resolvedDependencies"]}
    assert {"image sources", BASE, "us-east-1"} <= names
    shutil.rmtree(made.directory)
    assert sealed(tmp_path).digest == made.digest, "the same image gives the same seal"
