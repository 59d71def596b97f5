"""The other architecture: proven under emulation if available, inspected otherwise.

`nox -s tests` builds an image of two regions and examines it in brief; `nox -s emulated` builds and
proves the whole image, which takes a core minutes. CI proves both architectures natively.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.core.errors import EnvironmentMissingError, NoProcessorError
from harness.core.proof import Proof, Status
from harness.core.recorder import Recorder
from harness.core.regions import load_regions
from harness.core.stages import Architecture, BuiltImage
from harness.engine.emulation import processor_for, runs
from harness.engine.import_image import load_layer
from harness.engine.provision import Engine
from harness.engine.pull import find_image
from harness.pipeline import BuildConfig, build, examine
from harness.report import write_reports
from harness.verify.acceptance import BRIEF, COMPLETE, Examination, verify
from harness.verify.build_checks import _elf_header
from harness.verify.image_checks import check_image
from harness.verify.limits import EMULATED
from harness.verify.target import Target

from .conftest import ImageNames, hermetic

REGIONS = load_regions()
FEW = (REGIONS[0], REGIONS[3])


@pytest.fixture(scope="module")
def other(engine: Engine) -> Architecture:
    """The architecture that is not this machine's."""
    return next(a for a in Architecture if a != engine.architecture)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(BRIEF, id="brief"),
        pytest.param(COMPLETE, id="complete", marks=pytest.mark.emulated),
    ],
)
def examination(request: pytest.FixtureRequest) -> Examination:
    """What is examined under emulation."""
    found: Examination = request.param
    return found


@pytest.fixture(scope="module")
def emulated(request: pytest.FixtureRequest, engine: Engine, other: Architecture) -> Iterator[None]:
    """Emulate the other architecture for this module's tests."""
    try:
        with processor_for(engine, other):
            yield
    except NoProcessorError as error:
        if request.config.option.markexpr == "emulated":
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def config(other: Architecture, output: Path, examination: Examination) -> BuildConfig:
    """The build: two regions in brief, all of them otherwise."""
    left_out = () if examination is COMPLETE else tuple(r.name for r in REGIONS if r not in FEW)
    directory = output / f"other-{len(left_out)}"
    return hermetic(architecture=other, without=left_out, output=directory)


@pytest.fixture(scope="module")
def other_image(engine: Engine, emulated: None, config: BuildConfig) -> BuiltImage:
    """The image of the other architecture, built here."""
    return build(engine, config)


@pytest.fixture(scope="module")
def reports(output: Path, examination: Examination) -> Path:
    """Directory of the reports of `other_proof`."""
    return output / f"other-proof-{len(examination.required)}"


@pytest.fixture(scope="module")
def other_proof(
    engine: Engine,
    other_image: BuiltImage,
    config: BuildConfig,
    examination: Examination,
    reports: Path,
) -> Proof:
    """Its proof under emulation, also written as reports."""
    if examination is COMPLETE:
        found = examine(engine, other_image, config)
    else:
        found = verify(
            engine,
            other_image.reference,
            other_image.release.regions,
            stand_ins=other_image.stand_ins,
            examination=examination,
        )
    write_reports(found, reports, environ={})
    return found


def test_image_of_the_other_architecture_is_what_it_says(
    engine: Engine, other_image: BuiltImage, other: Architecture
) -> None:
    """Image, base and release assets all have the requested architecture."""
    assert engine.client.images.get(other_image.image_id).attrs["Architecture"] == other
    base = engine.client.images.get(other_image.base.reference)
    assert base.attrs["Architecture"] == other
    assert other_image.release.assets
    assert all(f"_{other.release_name}_" in asset.name for asset in other_image.release.assets)


def test_other_architecture_is_proven_under_emulation(
    other_proof: Proof, examination: Examination
) -> None:
    """Every requirement has its checks, and none failed."""
    failed = [f"{c.title}: {c.detail}" for c in other_proof.checks if c.status is Status.FAILED]
    assert not failed
    assert other_proof.proven
    assert set(other_proof.by_requirement()) == set(examination.required)


def test_emulated_times_are_never_the_promise(other_proof: Proof, examination: Examination) -> None:
    """SC-002, SC-003 (ready, stop): under emulation the limits are the emulated ones and say so."""
    timed = [c for c in other_proof.checks if c.unit in {"s", "ms"}]
    wanted = {"SC-002", "SC-003"}
    if examination is COMPLETE:
        wanted |= {"US-2", "FR-015"}
    assert {c.requirement for c in timed} >= wanted
    assert all("(emulated)" in c.limit for c in timed)
    bounds = {c.bound for c in timed if c.requirement == "SC-002"}
    assert bounds == {EMULATED.ready}


def test_emulation_is_named_at_the_top_of_every_report(other_proof: Proof, reports: Path) -> None:
    """The processor is the first stand-in, in all four reports and before the checks."""
    first = other_proof.stand_ins[0]
    assert (first.kind, first.replaces) == ("processor", other_proof.architecture)
    assert first.why.startswith("emulated on ")
    for name in ("proof.html", "proof.md", "proof.json", "junit.xml"):
        text = (reports / name).read_text(encoding="utf-8")
        assert first.why in text, name
        if name != "proof.json":
            assert text.index(first.why) < text.index("FR-004"), name


@contextmanager
def no_emulation(engine: Engine, architecture: str) -> Iterator[None]:
    raise NoProcessorError(f"{architecture}: not proven: no binfmt_misc")
    yield


def make_image(
    engine: Engine, tmp_path: Path, image: Architecture, binary: Architecture, reference: str
) -> None:
    """Build an image for `image` that has only headers of binaries for `binary`."""
    layer = tmp_path / "layer.tar"
    with tarfile.open(layer, "w") as tar:
        for region in REGIONS:
            data = _elf_header(binary)
            entry = tarfile.TarInfo(f"opt/finfocus/bin/{region.binary}")
            entry.size, entry.mode = len(data), 0o755
            tar.addfile(entry, io.BytesIO(data))
    load_layer(engine.client, layer, reference, image, {"Entrypoint": ["/none"]})


@pytest.mark.parametrize("binary", Architecture)
def test_fr_003_binaries_are_examined_where_nothing_can_be_run(
    engine: Engine,
    other: Architecture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    broken: ImageNames,
    *,
    binary: Architecture,
) -> None:
    """FR-003 (one tarball per region): without emulation it is unproven; ELF headers checked."""
    monkeypatch.setattr("harness.verify.acceptance.processor_for", no_emulation)
    reference = broken(f"{other}-with-{binary}")
    make_image(engine, tmp_path, other, binary, reference)
    right = len(REGIONS) if binary == other else 0
    with pytest.raises(EnvironmentMissingError) as caught:
        verify(engine, reference, REGIONS)
    assert f"{other}: not proven" in str(caught.value)
    assert f"{right} of {len(REGIONS)} binaries are executables for {other}" in str(caught.value)


def test_fr_003_binary_of_the_engine_is_refused_in_the_other_image(
    engine: Engine,
    other_image: BuiltImage,
    image: BuiltImage,
    broken: ImageNames,
    tmp_path: Path,
) -> None:
    """FR-003: one binary of the wrong architecture fails the check, even if it would run here."""
    binary = f"/opt/finfocus/bin/{FEW[-1].binary}"
    tmp_path.joinpath("Dockerfile").write_text(
        f"FROM {image.reference} AS own\nFROM {other_image.reference}\n"
        f"COPY --from=own {binary} {binary}\n",
        encoding="utf-8",
    )
    reference = broken("wrong-architecture")
    engine.client.images.build(path=str(tmp_path), tag=reference, rm=True)
    target = Target(
        client=engine.client,
        reference=reference,
        image=find_image(engine.client, reference),
        regions=other_image.release.regions,
        recorder=Recorder(),
    )
    check_image(target)
    checks = target.recorder.checks
    wrong = [c for c in checks if c.requirement == "FR-003" and c.status is Status.FAILED]
    assert [FEW[-1].name in c.detail for c in wrong] == [True]


def test_probe_tells_whether_an_architecture_runs(engine: Engine) -> None:
    """The probe runs on the engine's own architecture."""
    assert runs(engine.client, Architecture(engine.architecture))
