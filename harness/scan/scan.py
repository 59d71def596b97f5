"""Scan an image once, write the reports and apply the gate."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from docker.errors import DockerException
from docker.models.images import Image

from harness.core.cache import cache_directory
from harness.core.console import say, step
from harness.core.decode import decode, member
from harness.core.errors import CommandError, ScanGateError, ScanImpossibleError, UsageError
from harness.core.labels import STAND_INS
from harness.core.regions import load_regions, regions_in_image
from harness.core.stages import VerifiedImage
from harness.core.untrusted import reading
from harness.engine.provision import Engine
from harness.engine.pull import find_image
from harness.scan.checks import with_scan
from harness.scan.database import NO_UPDATE, QUIET, ready_database, words_of
from harness.scan.findings import Json, os_packages, read_findings, read_suppressed, system_of
from harness.scan.gate import binary_problems, finding_problems, system_words
from harness.scan.ignores import Ignore, ignore_problems, load_ignores
from harness.scan.layers import base_layers
from harness.scan.model import (
    AsSupported,
    Database,
    ScannedImage,
    ScanOptions,
    ScanReport,
    counts_of,
)
from harness.scan.sbom import modules_by_region
from harness.scan.summary import append_step_summary, render_summary
from harness.scan.support import as_supported
from harness.scan.tool import REMEDY, Trivy, find_trivy

_IGNORES = ".trivyignore.yaml"
_REPORT = "trivy.json"
_SARIF = "trivy.sarif"
_SBOM = "sbom.cdx.json"
_SUMMARY = "scan.md"
_RECORD = "scan.json"
_SUPPORTED = "supported.json"
_SCRATCH = ".finfocus-scan-"


def scan(
    engine: Engine, verified: VerifiedImage, options: ScanOptions, output: Path
) -> ScannedImage:
    """Scan the verified image by its ID and apply the gate.

    Writes trivy.json, trivy.sarif, sbom.cdx.json, scan.json and scan.md to `output`, even if the
    gate fails, appends scan.md to the summary of a GitHub Actions job, and adds SC-004 (nothing
    critical or high) to the proof. Raises `ScanGateError`
    with all findings if the gate fails, and `ScanImpossibleError` if the image cannot be scanned.
    """
    report = scan_image(
        engine, verified.built.image_id, options, output, name=verified.built.reference
    )
    append_step_summary(report, os.environ)
    proof = with_scan(verified.proof, passed(report))
    return ScannedImage(verified=replace(verified, proof=proof), report=report)


def passed(report: ScanReport) -> ScanReport:
    """Return `report` if its image passes the gate; raise `ScanGateError` otherwise."""
    if not report.passed:
        raise ScanGateError(
            "\n  ".join([f"the scan of {report.reference} {report.verdict}", *report.problems])
        )
    return report


def scan_image(
    engine: Engine, reference: str, options: ScanOptions, output: Path, *, name: str = ""
) -> ScanReport:
    """Scan any image; the report says whether it passes the gate.

    `name` is the image's name in the reports, by default `reference`. Raises `UsageError` for an
    invalid ignore file, and `ScanImpossibleError` if the image cannot be scanned.
    """
    ignores = load_ignores(options.ignore_file)
    for document in options.vex:
        if not document.is_file():
            raise UsageError(f"VEX document not found: {document}")
    image = find_image(engine.client, reference)
    with _workspace(output) as directory:
        trivy = find_trivy()
        cache = options.cache or cache_directory() / "trivy"
        job = _Job(
            trivy=trivy,
            database=ready_database(trivy, options, cache, directory),
            options=options,
            image=image,
            name=name or reference,
            output=output,
            ignores=ignores,
            base=base_layers(engine.client, image),
        )
        raw = _scan(job, directory)
        report = _judge(job, raw, _convert(job, directory))
        if report.end_of_life:
            report = replace(report, as_supported=_as_supported(job, directory, report))
    report.summary.write_text(render_summary(report), encoding="utf-8")
    text = json.dumps(report.to_json_dict(), indent=2, ensure_ascii=False)
    (output / _RECORD).write_text(text + "\n", encoding="utf-8")
    for words in report.warnings:
        say(f"  {words}")
    say(f"scan {report.verdict}; report: {report.summary}")
    return report


@dataclass(frozen=True, kw_only=True)
class _Job:
    """The inputs of one scan."""

    trivy: Trivy
    database: Database
    options: ScanOptions
    image: Image
    name: str
    output: Path
    ignores: tuple[Ignore, ...]
    base: tuple[str, ...]  # digests of the base image's layers

    @property
    def archive(self) -> Path:
        """The image archive's path in the workspace; Trivy reports it as the image's name."""
        parts = [part for part in self.name.split("/") if part not in {"", ".", ".."}]
        return Path(*parts)


@contextmanager
def _workspace(output: Path) -> Iterator[Path]:
    """Create a temporary directory in `output`, on a disk with space for the image.

    Reports of an earlier scan are removed first, so that a failed scan leaves none behind.
    """
    output.mkdir(parents=True, exist_ok=True)
    for name in (_REPORT, _SARIF, _SBOM, _SUMMARY, _RECORD):
        (output / name).unlink(missing_ok=True)
    for left in output.glob(f"{_SCRATCH}*"):  # left by a killed scan, with a whole image in it
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=output, prefix=_SCRATCH) as made:
        yield Path(made)


def _scan(job: _Job, directory: Path) -> Json:
    """Run the scan; return the content of `trivy.json`."""
    arguments = ["image", "--input", str(job.archive), *QUIET, *NO_UPDATE]
    arguments += ["--scanners", "vuln,secret", "--list-all-pkgs", "--show-suppressed"]
    arguments += ["--format", "json", "--output", _REPORT, *_filters(job, directory)]
    _save(job.image, directory / job.archive)
    with step(f"scanning {job.name}"):
        _trivy(job, arguments, directory)
    (directory / job.archive).unlink()
    with reading("Trivy's report", ScanImpossibleError, REMEDY):
        raw: Json = decode(Json, json.loads((directory / _REPORT).read_bytes()), "the document")
        scanned = list(member(raw, tuple[str, ...] | None, "Metadata", "DiffIDs") or ())
    expected = list(job.image.attrs["RootFS"]["Layers"])
    if scanned != expected:
        raise ScanImpossibleError(
            f"Trivy did not scan {job.image.id}: it reports the layers {scanned}, expected"
            f" {expected}"
        )
    shutil.copyfile(directory / _REPORT, job.output / _REPORT)
    return raw


def _filters(job: _Job, directory: Path) -> list[str]:
    """Copy the ignore file and the VEX documents to the workspace; return their options."""
    arguments = []
    # Copied, so that the report has file names instead of this machine's paths.
    if job.options.ignore_file and job.options.ignore_file.exists():
        shutil.copyfile(job.options.ignore_file, directory / _IGNORES)
        arguments += ["--ignorefile", _IGNORES]
    for number, document in enumerate(job.options.vex, start=1):
        copy = Path("vex") / str(number) / document.name
        (directory / copy).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(document, directory / copy)
        arguments += ["--vex", str(copy)]
    return arguments


def _as_supported(job: _Job, directory: Path, report: ScanReport) -> AsSupported | None:
    """Scan the OS packages again as if they were those of a supported release of the system.

    The SBOM has the packages with their layers, so that the image is not read again. A fix in the
    newer release does not prove that the older package is affected; the findings are shown, and
    the gate does not count them.
    """
    name = as_supported(report.system)
    if not name:
        return None
    arguments = ["sbom", *QUIET, *NO_UPDATE, "--pkg-types", "os", "--scanners", "vuln"]
    arguments += ["--distro", name.replace(" ", "/"), *_filters(job, directory)]
    arguments += ["--format", "json", "--output", _SUPPORTED, _SBOM]
    with step(f"scanning the packages as those of {name}"):
        _trivy(job, arguments, directory)
    with reading("Trivy's report", ScanImpossibleError, REMEDY):
        raw = json.loads((directory / _SUPPORTED).read_bytes())
    known = {(finding.id, finding.package) for finding in report.findings}
    found = read_findings(raw, job.base)
    # Trivy names the SBOM as the place.
    more = (replace(f, places=(name,)) for f in found if (f.id, f.package) not in known)
    return AsSupported(system=name, findings=tuple(more))


def _save(image: Image, path: Path) -> None:
    """Write the image to `path` in the format of `docker save`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with step("exporting the image from the engine") as progress:
        try:
            with path.open("wb") as file:
                for chunk in image.save():
                    file.write(chunk)
                    progress.transferred(file.tell(), image.attrs.get("Size"))
        except DockerException as error:
            raise ScanImpossibleError(f"the engine cannot export the image: {error}") from error
        except OSError as error:
            raise ScanImpossibleError(
                f"cannot write the image for the scan ({error.strerror}): free disk space in"
                f" {path.parent}"
            ) from error


def _convert(job: _Job, directory: Path) -> Json:
    """Convert the scan to SARIF and to an SBOM; return the content of the SBOM."""
    for form, name in (("sarif", _SARIF), ("cyclonedx", _SBOM)):
        _trivy(job, ["convert", "--quiet", "--format", form, "--output", name, _REPORT], directory)
        shutil.copyfile(directory / name, job.output / name)
    with reading("the SBOM", ScanImpossibleError, REMEDY):
        sbom: Json = decode(Json, json.loads((directory / _SBOM).read_bytes()), "the document")
    return sbom


def _trivy(job: _Job, arguments: list[str], directory: Path) -> None:
    try:
        job.trivy.run(arguments, cache=job.database.cache, directory=directory)
    except CommandError as error:
        raise ScanImpossibleError(f"Trivy cannot scan {job.name}: {words_of(error)}") from error


def _judge(job: _Job, raw: Json, sbom: Json) -> ScanReport:
    """Apply the gate and assemble the report."""
    system = system_of(raw)
    findings = read_findings(raw, job.base)
    suppressed = read_suppressed(raw)
    binaries = modules_by_region(sbom)
    labels = (job.image.attrs.get("Config") or {}).get("Labels") or {}
    regions = [region.name for region in regions_in_image(labels, load_regions())]
    problems, warnings = system_words(
        system.name or "unknown system",
        end_of_life=system.end_of_life,
        packages=os_packages(raw),
        stand_in_base="base image" in str(labels.get(STAND_INS, "")),
        policy=job.options.end_of_life,
    )
    return ScanReport(
        reference=job.name,
        image_id=str(job.image.id),
        system=system.name,
        end_of_life=system.end_of_life,
        os_packages=os_packages(raw),
        binaries=binaries,
        trivy_version=job.trivy.version,
        database=job.database,
        findings=findings,
        suppressed=suppressed,
        problems=(
            *finding_problems(findings),
            *ignore_problems(job.ignores, suppressed, datetime.now(UTC)),
            *binary_problems(regions, binaries),
            *problems,
        ),
        warnings=tuple(warnings),
        counts=counts_of(findings),
        trivy_json=job.output / _REPORT,
        sarif=job.output / _SARIF,
        sbom=job.output / _SBOM,
        summary=job.output / _SUMMARY,
    )
