"""Images that flood, multiply, ignore signals, or cannot even start: what a verification does."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from harness.core.proof import Proof, Status
from harness.core.regions import REPOSITORY
from tests.e2e.conftest import Variant

from .commands import harness, ours
from .second_engine import processes_with

SECONDS = 60.0  # for the whole verification of an image that never serves
PROVEN_SECONDS = 180.0  # of one that serves
KIB = 250 * 1024  # what the harness may hold; a good image takes about 80 MiB
REPORT_BYTES = 6 << 20
MARK = f"finfocus-hostile-{os.getpid()}"  # in the command line of what such an image runs
SCHEMA = REPOSITORY / "harness" / "report" / "proof.schema.json"


@dataclass(frozen=True, kw_only=True)
class Hostile:
    """An image and what is said of it."""

    dockerfile: str
    says: str  # somewhere in the report
    seconds: float = SECONDS
    slow: bool = False  # not in the default test run


# `verify` waits as long as an image gives its regions to start: these get little.
_IMPATIENT = "ENV FINFOCUS_STARTUP_SECONDS=5\n"


def _bash(script: str) -> str:
    return f"{_IMPATIENT}ENTRYPOINT {json.dumps(['bash', '-c', script, MARK])}\n"


_ENDLESS = """
core.register_service("endless", "http", function(applet)
  applet:set_status(200)
  applet:start_response()
  while true do applet:send(string.rep("x", 65536)) end
end)
"""
_ALL_ENDLESS = rf"""
USER 0
RUN printf '%s' '{" ".join(_ENDLESS.split())}' >>/opt/finfocus/metrics.lua && \
    sed -i 's/use-service lua.metrics if/use-service lua.endless if/' /opt/finfocus/haproxy.cfg && \
    sed -i '/default_backend/i http-request use-service lua.endless if METH_POST' \
      /opt/finfocus/haproxy.region.cfg
USER 65532:65532
"""

IMAGES = {
    "endless-log": Hostile(
        dockerfile=_bash("trap '' TERM INT HUP; while :; do echo xxxxxxxxxxxxxxx; done"),
        says="it is still running 15 s after SIGTERM",
        slow=True,
    ),
    "one-line-of-100-mb": Hostile(
        dockerfile=_bash("head -c 100000000 /dev/zero | tr '\\0' x"),
        says="longer than 8388608 bytes",
    ),
    "escapes-and-invalid-utf-8": Hostile(
        dockerfile=_bash(
            r"printf '\xff\xfe \e[31m\e]0;owned\a\e[2J\r\x9b1A [/red] \u202e\0end\n'; exit 3"
        ),
        says="exit code 3",
    ),
    "entrypoint-missing": Hostile(
        dockerfile='ENTRYPOINT ["/no/such/program"]\n', says="/no/such/program"
    ),
    "exits-with-0": Hostile(dockerfile='ENTRYPOINT ["true"]\n', says="with exit code 0"),
    "exits-with-137": Hostile(
        dockerfile=_bash("exit 137"), says="with exit code 137 (SIGKILL)", slow=True
    ),
    "no-such-user": Hostile(dockerfile="USER nobody-here\n", says="nobody-here", slow=True),
    "wrong-user": Hostile(
        dockerfile="USER 0\n", says="processes run as UID 0", slow=True, seconds=PROVEN_SECONDS
    ),
    "no-shell": Hostile(
        dockerfile=_IMPATIENT
        + (
            'USER 0\nRUN rm -f /bin/sh /usr/bin/sh\nUSER 65532:65532\nENTRYPOINT ["sleep", "600"]\n'
        ),
        says='"sh": executable file not found',
        slow=True,
    ),
    "deaf": Hostile(
        dockerfile=_bash("trap '' TERM INT HUP; while :; do sleep 1; done"),
        says="processes still running after 5 s",
        slow=True,
    ),
    "fork-bomb": Hostile(
        dockerfile=_bash("b() { b | b & }; b; sleep 600"),
        says="not ready within 20 s",
        slow=True,
    ),
    "endless-answers": Hostile(
        dockerfile=_ALL_ENDLESS,
        says="the response exceeds the limit",
        slow=True,
        seconds=PROVEN_SECONDS,
    ),
    "huge-health": Hostile(
        dockerfile="HEALTHCHECK --interval=1s CMD head -c 9000000 /dev/zero\n",
        says="it prints output although it passes",
        slow=True,
        seconds=PROVEN_SECONDS,
    ),
    "endless-health": Hostile(
        dockerfile="HEALTHCHECK --interval=1s CMD yes\n",
        says="sh inside the container printed more than",
        slow=True,
        seconds=PROVEN_SECONDS,
    ),
}
PARAMETERS = [
    pytest.param(name, marks=pytest.mark.faults if image.slow else (), id=name)
    for name, image in IMAGES.items()
]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One `harness verify`, from outside."""

    code: int
    words: str  # stdout and stderr
    seconds: float
    kib: int  # resident at most
    pid: int
    proof: Proof
    reports: Path


def verified(reference: str, directory: Path, timeout: float) -> Run:
    """Verify `reference` with the command; fails when that takes longer than `timeout`."""
    reports, said, began = directory / "proof", directory / "said", time.monotonic()
    with said.open("wb") as output:
        process = harness("verify", reference, "--reports", str(reports), output=output)
    kib = 0
    while process.poll() is None:
        kib = max(kib, _peak_kib(process.pid))
        if time.monotonic() - began > timeout:
            process.kill()
            process.wait()
            pytest.fail(f"no end within {timeout:g} s: {said.read_text(errors='replace')[-2000:]}")
        time.sleep(0.05)
    return Run(
        code=process.returncode,
        words=said.read_bytes().decode(),
        seconds=time.monotonic() - began,
        kib=kib,
        pid=process.pid,
        proof=Proof.from_json_dict(json.loads((reports / "proof.json").read_text())),
        reports=reports,
    )


def _peak_kib(pid: int) -> int:
    """What a process held at most so far, in KiB (proc(5), VmHWM); 0 once it has ended.

    Not getrusage(2): its figure for a child begins with what pytest held when it forked.
    """
    peak = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(peak[1]) if peak else 0


@pytest.mark.parametrize("name", PARAMETERS)
def test_hostile_image_is_not_proven(variant: Variant, tmp_path: Path, name: str) -> None:
    """The command says what is wrong, in bounded time and memory, and leaves nothing."""
    hostile = IMAGES[name]
    reference = variant.derived(tmp_path, name, hostile.dockerfile)
    _judge(variant, hostile, verified(reference, tmp_path, hostile.seconds))


@pytest.mark.faults
def test_image_that_exposes_nothing_is_not_proven(variant: Variant, tmp_path: Path) -> None:
    """The files alone, without ports, user or entrypoint: each of these is named."""
    flat = tmp_path / "Dockerfile"
    copy = f"FROM scratch\nCOPY --from={variant.image.reference} / /\n"
    flat.write_text(copy + _IMPATIENT + 'CMD ["/bin/sleep", "600"]\n')
    reference = variant.broken("flat")
    variant.engine.client.images.build(path=str(tmp_path), tag=reference, rm=True)
    hostile = Hostile(dockerfile="", says="8001 is not exposed")
    run = verified(reference, tmp_path, SECONDS)
    _judge(variant, hostile, run)
    assert "the user is root" in details(run.proof)
    assert "HEALTHCHECK is missing" in details(run.proof)


def _judge(variant: Variant, hostile: Hostile, run: Run) -> None:
    assert run.code == 1, run.words
    assert "Traceback" not in run.words
    assert run.words.splitlines()[-1].startswith("error: not proven: "), run.words[-500:]
    # Whatever the image prints, no terminal is told to do anything.
    assert all(text.isprintable() or text in "\n" for text in run.words), ascii(run.words)
    assert hostile.says in details(run.proof), details(run.proof)[:4000]
    assert "Error:" not in details(run.proof).replace("engine: ", ""), details(run.proof)[:4000]
    assert run.kib < KIB, f"the harness held {run.kib} KiB"
    _check_reports(run)
    assert ours(variant.engine, run.pid) == []
    assert processes_with(MARK) == []


def _check_reports(run: Run) -> None:
    found = json.loads((run.reports / "proof.json").read_text(encoding="utf-8"))
    jsonschema.validate(found, json.loads(SCHEMA.read_text(encoding="utf-8")))
    names = {path.name for path in run.reports.iterdir()}
    assert {"proof.json", "proof.html", "proof.md", "junit.xml"} <= names, names
    ET.parse(run.reports / "junit.xml")
    for path in run.reports.iterdir():
        assert path.stat().st_size < REPORT_BYTES, f"{path.name}: {path.stat().st_size} bytes"


def details(proof: Proof) -> str:
    """Why checks failed."""
    return "\n".join(c.detail for c in proof.checks if c.status is Status.FAILED)
