"""Check that tools which wait for a release, such as Flux, find it ready."""

from pathlib import Path

from harness.core.errors import HarnessError
from harness.core.go_tools import GoProgram
from harness.core.process import run
from harness.kubernetes.names import APP
from harness.kubernetes.stage import Stage

TITLE = "every object of the release is ready by the rules of Flux (kstatus)"
KSTATUS = GoProgram(source=Path(__file__).parent / "kstatus", name="kstatus", takes="a minute")
_READY = "Current "


def check_gitops(stage: Stage) -> None:
    """US-1: Flux would not wait for an object that never becomes ready."""
    with stage.recorder.check("US-1", TITLE, scenario="deploy") as finding:
        try:
            program = KSTATUS.provide()
        except HarnessError as error:
            finding.skip(f"kstatus cannot be had: {error}")
        manifest = stage.on_cluster("get", "manifest", APP)
        objects = stage.kubectl.run("get", "--filename=-", "--output=json", stdin=manifest)
        statuses = run([str(program)], stdin=objects).splitlines()
        finding.measured = f"{len(statuses)} objects"
        finding.expect(statuses, "the release has no objects")
        for status in statuses:
            finding.expect(status.startswith(_READY), status)
