"""image/build/download.sh with damaged or hostile checksum files and tarballs.

Bash cannot be instrumented for coverage, so hypothesis generates the inputs.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.build.assets import parse_checksums
from tests.unit.test_download import ELF, SCRIPT

pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")

BINARY = "finfocus-plugin-aws-public-us-east-1"
ASSET = "finfocus-plugin-aws-public_1.2.3_Linux_x86_64_us-east-1.tar.gz"
DIGEST = st.text("0123456789abcdefABCDEF", min_size=64, max_size=64)
LINE = st.builds(
    "{}{}{}".format,
    DIGEST | st.text("0123456789abcdef", max_size=70),
    st.sampled_from(["  ", " *", " ", "   ", "\t"]),
    st.sampled_from([ASSET, ASSET + ".sig", "x" + ASSET, "README", "../" + ASSET]),
)
MEMBER = st.sampled_from(
    [BINARY, "./" + BINARY, "/" + BINARY, "../" + BINARY, "a/../../x", "README", "sub/" + BINARY]
)
KIND = st.sampled_from([tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE])
ENTRIES = st.lists(
    st.tuples(MEMBER, KIND, st.sampled_from([ELF, b"#!/bin/sh\n", b"", ELF[:19]])), max_size=4
)


def shell(script: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["bash", "-c", f"source '{SCRIPT}'; set +e; {script}", "fuzz", *arguments],
        capture_output=True,
        timeout=20,
        check=False,
    )


@given(lines=st.lists(LINE, max_size=6))
@example(lines=[f"{'0' * 64}  {ASSET}", f"{'1' * 64}  {ASSET}"])
@example(lines=[f"{'0' * 10}  {ASSET}"])
def test_fr_018_build_and_harness_read_the_same_checksum(lines: list[str]) -> None:
    """FR-018 (missing tarball fails the build): harness and build read the same checksum."""
    wanted = parse_checksums("\n".join(lines) + "\n").get(ASSET)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "checksums.txt")
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        done = shell('expected_checksum "$1" "$2"', ASSET, str(path))
    found = done.stdout.decode()
    assert found.strip() == (wanted or "")
    # A value that is not a digest can only fail the comparison with a real one.
    assert done.returncode == 0
    assert found.count("\n") <= 1


@given(entries=ENTRIES, damage=st.none() | st.tuples(st.integers(0, 400), st.binary(max_size=3)))
@example(entries=[(BINARY, tarfile.SYMTYPE, b"")], damage=None)
@example(entries=[(BINARY, tarfile.REGTYPE, ELF)], damage=None)
@example(entries=[(BINARY, tarfile.REGTYPE, ELF), ("../x", tarfile.REGTYPE, b"")], damage=None)
def test_fr_018_a_tarball_gives_one_binary_or_a_reason(
    entries: list[tuple[str, bytes, bytes]], damage: tuple[int, bytes] | None
) -> None:
    """FR-018: the layer has one ELF executable, or the build fails with a reason; no other file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, kind, data in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            entry.size = len(data) if kind == tarfile.REGTYPE else 0
            tar.addfile(entry, io.BytesIO(data))
    packed = bytearray(buffer.getvalue())
    if damage:
        packed[damage[0] : damage[0] + len(damage[1])] = damage[1]
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        (root / "a.tar.gz").write_bytes(packed)
        done = shell(
            'output_dir=$2; unpack "$1" us-east-1 amd64', str(root / "a.tar.gz"), str(root / "out")
        )
        target = root / "out" / "us-east-1" / "opt/finfocus/bin" / BINARY
        if done.returncode == 0 and not done.stdout:
            assert target.read_bytes().startswith(b"\x7fELF")
            assert target.stat().st_mode & 0o777 == 0o755
        else:
            assert done.stdout, done
        inside = {path for path in root.rglob("*") if path.is_file() or path.is_symlink()}
        assert inside <= {root / "a.tar.gz", target}
