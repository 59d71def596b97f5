"""Untrusted JSON: log lines, descriptors, layouts, Trivy's report and SBOM."""

from __future__ import annotations

import gzip
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from harness.core.errors import NotProvenError, ScanImpossibleError
from harness.engine.logs import judge
from harness.oci.descriptor import Descriptor, sha256
from harness.oci.layout import verify_layout
from harness.scan.findings import os_packages, read_findings, read_suppressed
from harness.scan.sbom import modules_by_region
from tests.fuzz.targets.target import Target, parts_of

_scratch = tempfile.TemporaryDirectory(prefix="fuzz-documents-")
_directory = Path(_scratch.name)
_REGION = "us-east-1"
_BASE = "sha256:" + "a" * 64


def log_line(data: bytes) -> None:
    """A line passes if and only if a strict parser and the log rules accept it."""
    raw = data.replace(b"\n", b"")
    line = judge(raw, 0, frozenset({_REGION}))
    assert line.region in {"", "-", _REGION}
    if not raw.lstrip().startswith(b"{"):
        prefixed = any(raw.startswith(b"[%s] " % name) for name in (_REGION.encode(), b"-"))
        assert (line.problem == "") is prefixed, line
        return
    try:
        keys = _keys(raw)
    except RecursionError:
        return
    if keys is None:
        # The first problem is the one reported.
        assert line.problem in {"not valid JSON", "a key appears twice"}, line
    elif any(len(set(names)) < len(names) for names in keys):
        assert line.problem == "a key appears twice", line
    else:
        fields = json.loads(raw)
        known = fields.get("region") in ("-", _REGION) and {"timestamp", "level"} <= fields.keys()
        assert (line.problem == "") is known, line


def _keys(raw: bytes) -> list[list[str]] | None:
    """Return the keys of each object in strict JSON; None for anything else."""
    found: list[list[str]] = []

    def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found.append([key for key, _ in pairs])
        return dict(pairs)

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        json.loads(raw.decode(), object_pairs_hook=note, parse_constant=refuse, parse_int=str)
    except ValueError:
        return None
    return found


def descriptor(data: bytes) -> None:
    """An accepted descriptor survives a round trip."""
    try:
        plain = json.loads(data)
    except (ValueError, RecursionError):
        return
    try:
        found = Descriptor.from_json_dict(plain)
    except ValueError:
        return
    written = found.to_json_dict()
    assert Descriptor.from_json_dict(written) == found
    assert (
        type(found.size) is int
        and found.size == plain["size"]
        and written["digest"] == plain["digest"]
    )
    assert written["mediaType"] == plain["mediaType"]


def layout(data: bytes) -> None:
    """A layout whose digests match is read unchanged; any other is refused with a message."""
    shutil.rmtree(_directory / "layout", ignore_errors=True)
    blobs = _directory / "layout" / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    index, manifest, config, layer, diff = parts_of(data, 5)
    known = {b"@diff": sha256(diff).encode()}

    def put(name: bytes, content: bytes) -> bytes:
        for word, value in known.items():
            content = content.replace(word, value)
        digest = sha256(content)
        (blobs / digest.removeprefix("sha256:")).write_bytes(content)
        known[b"@size-" + name] = b"%d" % len(content)
        known[b"@" + name] = digest.encode()
        return content

    packed = gzip.compress(diff, mtime=0)
    path = blobs / sha256(put(b"layer", packed if layer[:1] == b"@" else layer))[7:]
    if layer == b"@damaged":
        path.write_bytes(packed + b"\0")  # gzip accepts that; only the digest differs
    put(b"config", config)
    put(b"manifest", manifest)
    for word, value in known.items():
        index = index.replace(word, value)
    (blobs.parents[1] / "index.json").write_bytes(index)
    (blobs.parents[1] / "oci-layout").write_bytes(b'{"imageLayoutVersion":"1.0.0"}')
    try:
        found = verify_layout(blobs.parents[1])
    except NotProvenError:
        return
    assert found.platform.architecture
    for blob in (found.manifest, *found.blobs):
        assert sha256(found.path(blob).read_bytes()) == blob.digest
    assert all(isinstance(v, str) for pair in found.labels.items() for v in pair)


def trivy_report(data: bytes) -> None:
    """Every finding in a report is counted with its severity, or the report is refused."""
    try:
        report = json.loads(data)
    except (ValueError, RecursionError):
        return
    try:
        findings = read_findings(report, [_BASE])
        read_suppressed(report)
        packages = os_packages(report)
    except ScanImpossibleError:
        return
    assert packages >= 0
    results = report.get("Results") or ()
    entries = [
        e for r in results for key in ("Vulnerabilities", "Secrets") for e in r.get(key) or ()
    ]
    severe = {f.severity.value for f in findings} & {"CRITICAL", "HIGH"}
    assert severe == {
        e.get("Severity") for e in entries if e.get("Severity") in ("CRITICAL", "HIGH")
    }
    assert len(findings) <= len(entries) and bool(findings) is bool(entries)


def sbom(data: bytes) -> None:
    """The modules of each binary are counted in any graph, or the SBOM is refused."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return
    try:
        found = modules_by_region(document)
    except ScanImpossibleError:
        return
    assert all(0 <= count <= len(document["components"]) for count in found.values())


_JSON = (b'"', b"{}", b"[]", b"null", b"1e400", b"-1", b"true", b"NaN", b"1" * 30, b'"\\ud800"')
_DIGEST = b'"sha256:' + b"a" * 64 + b'"'
_OCI = (
    *(b'"mediaType":"x"', b'"digest":' + _DIGEST, b'"size":1', b'"annotations":{"a":"b"}'),
    *(b'"platform":{"architecture":"amd64","os":"linux"}', b'"artifactType":"x"'),
)

LOG_LINE = Target(
    name="log_line",
    run=log_line,
    words=(
        *_JSON,
        b'"region":"us-east-1",',
        b'"timestamp":1,',
        b'"level":1',
        b"[us-east-1] ",
        b"[-] ",
    ),
    is_json=True,
    longest=500,
)
DESCRIPTOR = Target(name="descriptor", run=descriptor, words=(*_JSON, *_OCI), is_json=True)
LAYOUT = Target(
    name="layout",
    run=layout,
    words=(
        *(*_JSON, *_OCI, b"\0", b"@layer", b"@config", b"@manifest", b"@diff", b"@size-layer"),
        *(b'"config":{"Labels":{"a":"b"}}', b'"rootfs":{"diff_ids":["@diff"]}', b'"layers":[]'),
    ),
    longest=2000,
)
TRIVY_REPORT = Target(
    name="trivy_report",
    run=trivy_report,
    words=(
        *(
            *_JSON,
            b'"Results":',
            b'"Vulnerabilities":',
            b'"Secrets":',
            b'"Severity":"CRITICAL"',
            b'"Severity":"HIGH"',
        ),
        *(
            b'"Layer":{"DiffID":' + _DIGEST + b"}",
            b'"Packages":',
            b'"Class":"os-pkgs"',
            b'"Target":',
        ),
    ),
    is_json=True,
    longest=1500,
)
SBOM = Target(
    name="sbom",
    run=sbom,
    words=(
        *(*_JSON, b'"components":', b'"bom-ref":"a"', b'"dependencies":', b'"dependsOn":["a"]'),
        *(b'"ref":"a"', b'"type":"application"', b'"purl":"pkg:golang/x"', b'"version":"1"'),
        b'"name":"finfocus-plugin-aws-public-us-east-1"',
    ),
    is_json=True,
    longest=1500,
)
