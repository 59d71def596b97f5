"""Checks that need a build: its inputs, and that it fails if one is missing."""

import hashlib
import io
import re
import tarfile
from dataclasses import replace
from pathlib import Path

from harness.build.image import build_image
from harness.core.errors import BuildError
from harness.core.proof import StandIn
from harness.core.recorder import Limits, Recorder
from harness.core.regions import Region
from harness.core.settings import default_base
from harness.core.stages import Architecture, BuiltImage, asset_name
from harness.core.temporary import temporary_directory
from harness.engine.provision import Engine
from harness.stand_ins.release import serve_directory

_DEFAULT_BASE = re.compile(r"^ARG BASE_IMAGE=(\S+)$", re.MULTILINE)


def check_build(
    engine: Engine,
    image: BuiltImage,
    image_directory: Path,
    regions: tuple[Region, ...],
    recorder: Recorder,
) -> None:
    """FR-001, FR-002, FR-003 and FR-018 for the image that was just built."""
    base = default_base(image_directory)
    with recorder.check("FR-001", "the Dockerfile's default base", limit=base) as finding:
        text = (image_directory / "Dockerfile").read_text(encoding="utf-8")
        finding.measured = ", ".join(sorted(set(_DEFAULT_BASE.findall(text)))) or "none"
        finding.expect(finding.measured == base, f"it is {finding.measured}")
    count = len(regions)
    with recorder.check(
        "FR-003", "one checked tarball per region", limits=Limits(floor=count, bound=count)
    ) as finding:
        finding.value = len({asset.sha256 for asset in image.release.assets})
        finding.note = f"from {image.release.base_url}/{image.version}"
    _check_missing(engine, image, image_directory, regions, recorder)


def _check_missing(
    engine: Engine,
    image: BuiltImage,
    image_directory: Path,
    regions: tuple[Region, ...],
    recorder: Recorder,
) -> None:
    """Build from a release that lacks two tarballs: the error names exactly these two."""
    missing = [region.name for region in regions[-3:-1] or regions]
    title = f"a build without {len(missing)} of the tarballs fails and names them"
    with recorder.check("FR-018", title) as finding, temporary_directory("release") as root:
        checksums = _write_release(root / image.version, image, regions, missing)
        with serve_directory(root) as url:
            release = replace(
                image.release,
                base_url=url,
                checksums_sha256=checksums,
                stand_in=StandIn(kind="release server", replaces="GitHub", why="to omit tarballs"),
            )
            try:
                made = build_image(
                    engine.client, image_directory, image.base, release, "finfocus-fr-018:broken"
                )
            except BuildError as error:
                named = set(re.findall(r"error: ([a-z0-9-]+): ", str(error)))
                finding.measured = f"failed, named {', '.join(sorted(named)) or 'no region'}"
                finding.expect(named == set(missing), f"expected {missing}: {error}")
            else:
                engine.client.images.remove(made.reference, force=True)
                finding.fail("the build succeeded")


def _write_release(
    directory: Path, image: BuiltImage, regions: tuple[Region, ...], missing: list[str]
) -> str:
    """Tarballs of empty executables for all regions; `missing` ones get only a checksum.

    Returns the SHA-256 of `checksums.txt`.
    """
    directory.mkdir(parents=True)
    lines = []
    for region in regions:
        name = asset_name(region, image.version, image.architecture)
        data = _tarball(region.binary, _elf_header(image.architecture))
        lines.append(f"{hashlib.sha256(data).hexdigest()}  {name}\n")
        if region.name not in missing:
            (directory / name).write_bytes(data)
    text = "".join(lines)
    (directory / "checksums.txt").write_text(text, encoding="utf-8")
    return hashlib.sha256(text.encode()).hexdigest()


def _elf_header(architecture: Architecture) -> bytes:
    """The first bytes of an ELF-64 executable, which is all that the build checks."""
    machine = architecture.elf_machine.to_bytes(2, "little")
    return b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + b"\x02\0" + machine + bytes(44)


def _tarball(name: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(data), 0o755
        tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
