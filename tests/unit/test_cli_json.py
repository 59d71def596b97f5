"""`--json`: one document on stdout, described by one schema; everything else is on stderr."""

from __future__ import annotations

import io
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import jsonschema
import pytest
import typer
from referencing import Registry, Resource

from harness import __main__, notes, pipeline
from harness import release as releasing
from harness.cli import image as image_commands
from harness.cli import machine as machine_commands
from harness.cli import release as release_commands
from harness.cli.main import COMMANDS, LazyGroup, app
from harness.cli.output import load_schema
from harness.core.errors import ReleaseError
from harness.core.proof import Proof
from harness.engine import foreground
from harness.machine import doctor
from harness.publish.chart import make_chart
from harness.publish.plan import TagPolicy, make_plan
from harness.report.json_report import load_schema as load_proof_schema
from harness.report.sample import sample_proof
from harness.rescan import job
from harness.rescan.issues import Change
from tests.unit.release.fake_registry import fake_registry
from tests.unit.release.made import VERSION, both, client_of, proof_of, publish_to, scanned
from tests.unit.rescan.findings import finding, problem
from tests.unit.rescan.findings import image as published_image
from tests.unit.scan_reports import binary, result, scan_report, vulnerability


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """The command takes signals for itself; the tests have theirs back."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    handlers = {number: signal.getsignal(number) for number in numbers}
    hook = sys.unraisablehook
    yield
    sys.unraisablehook = hook
    for number, handler in handlers.items():
        signal.signal(number, handler)


def validator(name: str) -> jsonschema.Draft202012Validator:
    """The schema of one command's document, with the proof's schema at its relative address."""
    schema = load_schema()
    proof = schema["$id"].replace("cli/result.schema.json", "report/proof.schema.json")
    registry: Registry[Any] = Registry().with_resources(
        [
            (schema["$id"], Resource.from_contents(schema)),
            (proof, Resource.from_contents(load_proof_schema())),
        ]
    )
    return jsonschema.Draft202012Validator(
        {"$ref": f"{schema['$id']}#/$defs/{name}"}, registry=registry
    )


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command with `--json`: its exit code, its document, its stderr."""

    def run(*arguments: str) -> tuple[Any, Any, str]:
        monkeypatch.setattr(__main__, "exit_interrupted", lambda: sys.exit(130))
        monkeypatch.setattr(sys, "argv", ["harness", *arguments, "--json"])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            __main__.main()
        printed = capsys.readouterr()
        return end.value.code, json.loads(printed.out), printed.err

    return run


def passing() -> Proof:
    return proof_of("sha256:" + "a" * 64)


@pytest.mark.parametrize(
    ("command", "function"),
    [("prove", "prove"), ("verify", "verify_image"), ("smoke", "smoke_test")],
)
@pytest.mark.parametrize("proven", [True, False], ids=["proven", "not-proven"])
def test_proof_is_the_document_even_if_it_fails(
    command: str, function: str, proven: bool, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof is printed alone; the failure is an exit code and a sentence on stderr."""
    proof = passing() if proven else sample_proof()
    assert proof.proven is proven
    monkeypatch.setattr(pipeline, function, lambda *_, **__: proof)
    code, document, said = call(command, *(["image"] if command != "prove" else []))
    validator(command).validate(document)
    assert document["proven"] is proven
    assert (code, said) == ((0, "") if proven else (1, f"error: {proof.verdict}\n"))


def test_build_prints_its_record(
    call: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The build record is the document."""
    built = scanned(tmp_path, stand_ins=True)[1].verified.built
    monkeypatch.setattr(image_commands, "container_engine", lambda: nullcontext(None))
    monkeypatch.setattr(pipeline, "build", lambda *_: built)
    code, document, _ = call("build", VERSION)
    validator("build").validate(document)
    assert (code, document["image_id"]) == (0, built.image_id)


@pytest.mark.parametrize("passed", [True, False], ids=["passed", "failed"])
def test_scan_prints_its_report_even_if_the_gate_fails(
    passed: bool, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report is the document; a failed gate is exit code 6."""
    found = vulnerability("CVE-1", "zlib", "CRITICAL", "sha256:1")
    report = (
        scan_report()
        if passed
        else scan_report(result(binary("us-east-1"), "sha256:1", found), problems=("1 critical",))
    )
    monkeypatch.setattr(pipeline, "scan_existing", lambda *_: report)
    code, document, _ = call("scan", "image")
    validator("scan").validate(document)
    assert (code, document["passed"]) == (0 if report.passed else 6, report.passed)


def test_release_prints_what_it_published_planned_or_sealed(
    call: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each way to release has a document, and each matches only one of the three."""
    images = both(tmp_path)
    with fake_registry() as registry:
        with client_of(registry) as client:
            plan = make_plan(images, VERSION, client, TagPolicy(floating=True))
        published = publish_to(registry, images, tmp_path / "out")
    monkeypatch.setattr(releasing, "release", lambda *_, **__: published)
    code, document, _ = call("release", VERSION)
    validator("release").validate(document)
    assert (code, document["tags"]) == (0, list(published.tags))

    monkeypatch.setattr(
        releasing, "release", lambda *_, show_plan, **__: show_plan(plan, make_chart(plan))
    )
    code, document, _ = call("release", VERSION, "--dry-run")
    validator("release").validate(document)
    assert (code, document["dry_run"]) == (0, True)
    assert document["tags"][0] == {"tag": VERSION, "before": None}

    monkeypatch.setattr(releasing, "export", lambda _: images[0])
    code, document, _ = call("release", VERSION, "--export", str(tmp_path / "x"))
    validator("release").validate(document)
    assert (code, document["seal"]) == (0, images[0].digest)


def test_release_notes_prints_the_url(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The document has the URL of the GitHub release."""
    monkeypatch.setattr(notes, "release_notes", lambda *_, **__: "https://github.com/o/n")
    code, document, _ = call("release-notes", "out", "--github", "o/n")
    validator("release-notes").validate(document)
    assert (code, document) == (0, {"url": "https://github.com/o/n"})


def test_rescan_prints_images_findings_and_issues(
    call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The document has what was found, and what happened to the issues."""
    found = job.Rescan(
        images=(published_image(),),
        scans=((published_image(), scan_report()),),
        failures=(),
        problems=(problem(finding()),),
        changes=(Change(title="CVE-1", what="opened", number=7),),
    )
    monkeypatch.setattr(job, "rescan", lambda _: found)
    code, document, _ = call("rescan")
    validator("rescan").validate(document)
    assert (code, document["issues"][0]["what"]) == (0, "opened")


def test_wait_release_prints_what_is_complete(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version, architectures and regions are in the document."""
    monkeypatch.setattr(release_commands, "wait_for_release", lambda *_, **__: None)
    code, document, _ = call("wait-release", VERSION, "--arch", "arm64")
    validator("wait-release").validate(document)
    assert (code, document["architectures"]) == (0, ["arm64"])


@pytest.mark.parametrize("ok", [True, False], ids=["ok", "missing"])
def test_doctor_prints_its_findings(ok: bool, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The findings are the document; a missing requirement is only an exit code."""
    finding = doctor.Diagnosis(name="engine", ok=ok, optional=False, found="none", remedy="install")
    monkeypatch.setattr(doctor, "examine", lambda: [finding])
    code, document, said = call("doctor")
    validator("doctor").validate(document)
    assert (code, said) == (0 if ok else 3, "")


@pytest.mark.parametrize("engine", [True, False], ids=["engine", "no-engine"])
def test_sweep_prints_what_it_removed(
    engine: bool, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Containers and nodes are one list of names."""
    client = SimpleNamespace() if engine else None
    monkeypatch.setattr(machine_commands, "connect", lambda: client)
    monkeypatch.setattr(machine_commands, "sweep_engine", lambda *_, **__: ["old"])
    monkeypatch.setattr(machine_commands, "sweep_boxes", lambda: ["node"])
    monkeypatch.setattr(machine_commands, "stop_leftover_engine", lambda: True)
    code, document, _ = call("sweep")
    validator("sweep").validate(document)
    removed = ["old", "node"] if engine else ["node"]
    assert (code, document) == (0, {"removed": removed, "engine_stopped": True})


def test_version_is_a_document(call: Any) -> None:
    """`version --json` prints an object, too."""
    code, document, _ = call("version")
    validator("version").validate(document)
    assert code == 0


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        pytest.param(ReleaseError("two are missing"), 4, "two are missing", id="expected"),
        pytest.param(KeyboardInterrupt(), 130, "interrupted", id="interrupted"),
        pytest.param(ZeroDivisionError("by 0"), 70, "ZeroDivisionError: by 0", id="defect"),
    ],
)
def test_error_is_a_document_and_a_sentence(
    error: BaseException, code: int, message: str, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stdout has the error as JSON, stderr has the sentence."""

    def fail() -> None:
        raise error

    monkeypatch.setattr(doctor, "examine", fail)
    found, document, said = call("doctor")
    validator("error").validate(document)
    assert (found, document["error"]["exit_code"]) == (code, code)
    assert message in document["error"]["message"]
    assert said == f"error: {document['error']['message']}\n"


@pytest.mark.parametrize(
    "arguments", [("prove", "--no-such-option"), ("build",), ("run",), ("nothing",)]
)
def test_usage_error_is_a_document_too(arguments: tuple[str, ...], call: Any) -> None:
    """Typer's own errors follow the schema."""
    code, document, said = call(*arguments)
    validator("error").validate(document)
    assert (code, document["error"]["exit_code"]) == (2, 2)
    assert said.startswith("error: ")


LINES = (
    b'{"region":"us-east-1","timestamp":"t","level":"info","message":"\xc2\x9b\xe2\x80\xae"}\r\n'
    b"[us-west-2] PORT=18001\n"
    b'{"region":"us-west-2","level":"info","timestamp":"t"}\n'
)


@pytest.mark.parametrize(
    ("regions", "count"), [([], 3), (["us-east-1"], 1)], ids=["all", "one-region"]
)
def test_logs_are_one_object_a_line(
    regions: list[str],
    count: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A JSON line keeps its content without terminal controls; any other becomes an object."""
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(LINES)))
    foreground.show_logs("-", regions, follow=False, as_json=True)
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert (len(lines), printed.err) == (count, "")
    for line in lines:
        validator("logs").validate(json.loads(line))
    assert json.loads(lines[0]) == json.loads(LINES.splitlines()[0])
    assert lines[0].isascii()
    assert lines[1:2] == ['{"region": "us-west-2", "text": "PORT=18001"}'] * (count > 1)


def test_run_and_logs_take_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """`run` prints the same lines as `logs`; both get the flag."""
    given = []
    monkeypatch.setattr(
        image_commands, "container_engine", lambda: nullcontext(SimpleNamespace(client=None))
    )

    def record(*_: object, as_json: bool, **__: object) -> int:
        given.append(as_json)
        return 7

    monkeypatch.setattr(foreground, "run", record)
    monkeypatch.setattr(foreground, "show_logs", record)
    for arguments, code in ((["run", "image"], 7), (["logs", "-"], 0)):
        with pytest.raises(SystemExit) as end:
            app([*arguments, "--json"])
        assert end.value.code == code
    assert given == [True, True]


def test_every_command_has_a_schema() -> None:
    """A new command needs `--json` and a definition."""
    schema = load_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    group = cast("LazyGroup", typer.main.get_command(app))
    for name in COMMANDS:
        assert any("--json" in option.opts for option in group.get_command(None, name).params), name
    described = {entry["$ref"].rpartition("/")[2] for entry in schema["anyOf"]}
    assert described == {*COMMANDS, "error"}
