"""The regions table, checksums.txt and the ignore file: Python and the other readers agree."""

from __future__ import annotations

import re
import tempfile
from datetime import date
from pathlib import Path

import yaml

from harness.build.assets import parse_checksums
from harness.core.errors import UsageError
from harness.core.regions import load_regions
from harness.scan.ignores import load_ignores
from tests.fuzz.targets.target import Target

_scratch = tempfile.TemporaryDirectory(prefix="fuzz-tables-")
_directory = Path(_scratch.name)
_NAME = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]")


def regions(data: bytes) -> None:
    """The shell's `read` parses an accepted table like Python."""
    (_directory / "regions").write_bytes(data)
    try:
        found = load_regions(_directory)
    except UsageError:
        return
    rows = [re.split(rb"[ \t]+", line.strip(b" \t")) for line in data.split(b"\n")]
    rows = [row for row in rows if row != [b""] and not row[0].startswith(b"#")]
    # `read -r region port _` drops everything after the port, so nothing may follow it.
    assert rows == [[region.name.encode(), b"%d" % region.port] for region in found]
    assert all(_NAME.fullmatch(region.name) for region in found)
    assert len({r.name for r in found}) == len({r.port for r in found}) == len(found)


def checksums(data: bytes) -> None:
    """The harness and the awk in image/build/download.sh read the same checksums."""
    text = data.decode("utf-8", errors="replace")
    for name, digest in parse_checksums(text).items():
        assert re.fullmatch("[0-9a-f]{64}", digest) and name and not re.search(r"[ \t\n]", name)
        assert awk(text, name) == digest, (name, digest)


def awk(text: str, asset: str) -> str:
    """`expected_checksum` of download.sh in Python; awk splits fields at blanks and tabs."""
    for line in text.split("\n"):
        fields = re.split(r"[ \t]+", line.removesuffix("\r").strip(" \t"))
        digest = re.fullmatch("[0-9a-fA-F]{64}", fields[0])
        if digest and line[:1] not in {" ", "\t"} and fields[1:] in ([asset], ["*" + asset]):
            return fields[0].lower()
    return ""


def ignores(data: bytes) -> None:
    """Each accepted entry has a name, a reason and an expiry date, and survives a round trip."""
    path = _directory / "ignores.yaml"
    path.write_bytes(data)
    try:
        found = load_ignores(path)
    except UsageError:
        return
    assert all(entry.id.strip() and entry.statement.strip() for entry in found)
    assert all(type(entry.expires) is date for entry in found)
    rows = [{"id": e.id, "statement": e.statement, "expired_at": e.expires} for e in found]
    path.write_text(yaml.safe_dump({"vulnerabilities": rows}, allow_unicode=True), encoding="utf-8")
    assert load_ignores(path) == found


REGIONS = Target(
    name="regions",
    run=regions,
    words=(
        b"us-east-1 8001\n",
        b"eu-west-1",
        b"\t",
        b" ",
        b"#",
        b"\r\n",
        b"0",
        b"55536",
        b"\xd9\xa3",
    ),
    longest=200,
)
CHECKSUMS = Target(
    name="checksums",
    run=checksums,
    words=(b"a" * 64 + b"  name\n", b"B" * 64, b"  ", b" *", b"\t", b"\r\n", b"\xc2\xa0", b"\x0c"),
    longest=500,
)
IGNORES = Target(
    name="ignores",
    run=ignores,
    words=(
        *(
            b"vulnerabilities:\n",
            b"secrets:\n",
            b"- id: CVE-1\n",
            b"  statement: why\n",
            b"  paths:",
        ),
        *(b"  expired_at: 2027-01-31\n", b"2027-13-45", b"!!int ", b"!!timestamp ", b"!!bool "),
        *(b"0001-01-01T00:00:00+23:59", b"&a ", b"*a", b"[", b"{", b"? ", b": ", b"<<: ", b"|\n"),
    ),
    longest=400,
)
