"""Convert fuzzed `docker save` output to an OCI layout, or refuse it with a message."""

from __future__ import annotations

import io
import shutil
import tarfile
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from harness.core.errors import HarnessError
from harness.oci import export_image, verify_layout
from harness.oci.descriptor import sha256
from tests.fuzz.targets.target import Target

_scratch = tempfile.TemporaryDirectory(prefix="fuzz-saved-")
_BLOCK = 512


def run(data: bytes) -> None:
    """A written layout verifies, digest by digest; a refused one leaves nothing behind."""
    tar = repaired(data)
    directory = Path(_scratch.name) / "layout"
    shutil.rmtree(directory, ignore_errors=True)
    client: Any = SimpleNamespace(
        images=SimpleNamespace(get=lambda _id: SimpleNamespace(attrs={"Size": len(tar)})),
        api=SimpleNamespace(get_image=lambda _id: iter([tar[:700], tar[700:]])),
    )
    try:
        layout = export_image(client, config_digest(tar), directory)
    except HarnessError:
        assert not directory.exists()
        return
    again = verify_layout(directory)
    assert (again.manifest, again.layers) == (layout.manifest, layout.layers)


def repaired(data: bytes) -> bytes:
    """Fix the checksum in each tar header: the fuzzer cannot guess it."""
    blocks = [bytearray(data[at : at + _BLOCK]) for at in range(0, len(data), _BLOCK)]
    for block in blocks:
        if len(block) == _BLOCK and block[257:262] == b"ustar":
            block[148:156] = b" " * 8
            block[148:156] = b"%06o\0 " % sum(block)
    return b"".join(blocks)


def config_digest(tar: bytes) -> str:
    """Return the digest of the file that looks like the image's config, used as the image ID."""
    digest = "sha256:" + "0" * 64
    try:
        with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
            for member in opened.getmembers():
                file = opened.extractfile(member) if member.isreg() else None
                text = file.read(1 << 20) if file else b""
                if text.startswith((b"{", b"[")) and b"rootfs" in text:
                    digest = sha256(text)
    except Exception:
        return digest
    return digest


TARGET = Target(
    name="saved_image",
    run=run,
    words=(
        *(
            b'"rootfs":{"diff_ids":[]}',
            b'"config":',
            b"{}",
            b"[]",
            b"null",
            b"ustar  \0",
            b"ustar\x0000",
        ),
        *(b"GNU.sparse.size=1\n", b"20 path=x\n", b"\x1f\x8b\x08", b"finfocus-plugin-aws-public-x"),
    ),
    longest=6144,
)
