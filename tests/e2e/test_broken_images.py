"""The acceptance run on deliberately broken images: the checks can fail."""

import json
from dataclasses import replace
from pathlib import Path

from harness.core.proof import Proof, Status
from harness.core.regions import load_regions
from harness.verify.acceptance import BRIEF, REQUIRED, Examination, steady, verify
from harness.verify.limits import PROMISED
from harness.verify.service_checks import check_answers
from harness.verify.stop_checks import interrupted, stopped_under_load, stopped_while_starting
from harness.verify.target import Target

from .conftest import Variant
from .faults.seam import entrypoint_with

START_SECONDS, STARTUP_SECONDS = 1, 120
SCENARIOS = 8  # containers in one run
SLOW = f"ENV STANDIN_START_DELAY={START_SECONDS}s FINFOCUS_START_PARALLEL=0\n"
# Stricter than the promises, so that a run of many containers does not take minutes.
STRICT = replace(PROMISED, ready=START_SECONDS / 2, give_up=PROMISED.stop + 1)
IMPATIENT = replace(STRICT, stop=0.5, give_up=1)

_NO_HANDLERS = """
local signal = require "posix.signal"
local real = signal.signal
function signal.signal(number, handler)
  local asks_to_stop = number == signal.SIGTERM or number == signal.SIGINT
  return real(number, asks_to_stop and signal.SIG_IGN or handler)
end
"""
DEAF = f"ENTRYPOINT {json.dumps(entrypoint_with(_NO_HANDLERS))}\n"
CORRUPTING = """
USER 0
RUN printf '#!/bin/bash\\nexec > >(while read -r line; do echo "${line/:/;}"; done)\\n\
. /opt/finfocus/entrypoint.sh\\n_main\\n' >/opt/finfocus/corrupting.sh \
    && chmod 755 /opt/finfocus/corrupting.sh
USER 65532:65532
ENTRYPOINT ["/opt/finfocus/corrupting.sh"]
"""


def _stop(target: Target) -> None:
    steady(target, service=check_answers)
    stopped_under_load(target)
    stopped_while_starting(target)
    interrupted(target)


STOPS = Examination(required=("SC-003", "US-2"), run=_stop)


def test_sc_003_image_that_ignores_sigterm_is_not_proven(variant: Variant, tmp_path: Path) -> None:
    """SC-003 (exit within 5 s): no container stops, however long the run waits, nor on Ctrl+C."""
    reference = variant.derived(tmp_path, "deaf", DEAF)
    proof = verify(variant.engine, reference, load_regions(), times=IMPATIENT, examination=STOPS)
    assert not proof.proven
    stops = [*proof.by_requirement()["SC-003"], *proof.by_requirement()["US-2"]]
    assert len(stops) == len(proof.scenarios) == 6
    assert {check.status for check in stops} == {Status.FAILED}
    assert all(f"still running {IMPATIENT.give_up} s after SIG" in c.detail for c in stops)


def test_fr_013_image_that_corrupts_json_is_not_proven(variant: Variant, tmp_path: Path) -> None:
    """FR-013 (log lines with a prefix): the run reports it, and does not crash."""
    reference = variant.derived(tmp_path, "corrupting", CORRUPTING)
    proof = verify(variant.engine, reference, load_regions(), times=STRICT, examination=BRIEF)
    assert not proof.proven
    assert "FR-013" in failed(proof), f"{failed(proof)}"


def test_sc_002_late_start_is_one_failed_check(variant: Variant, tmp_path: Path) -> None:
    """SC-002 (ready in time): a slow start fails with its time; all other checks pass.

    This includes FR-017 (bounded restarts), although a killed region takes as long to restart.
    """
    reference = variant.derived(tmp_path, "slow", SLOW)
    proof = verify(variant.engine, reference, load_regions(), times=STRICT)
    assert failed(proof) == {"SC-002"}, f"{failed(proof)}"
    (late,) = proof.by_requirement()["SC-002"]
    assert late.value is not None
    assert START_SECONDS <= late.value < STARTUP_SECONDS
    assert f"exceeds the limit: ≤ {STRICT.ready:g} s" in late.detail
    unmade = [c for c in proof.checks if c.status is Status.SKIPPED and "stand-in" not in c.detail]
    assert not unmade, f"{unmade}"
    assert not set(REQUIRED) - {"FR-018"} - set(proof.by_requirement())
    assert len(proof.scenarios) == SCENARIOS


def test_image_without_anything_is_reported_not_crashed_on(
    variant: Variant, tmp_path: Path
) -> None:
    """A container that exits at once gives failed checks with its exit code and output."""
    dockerfile = 'ENTRYPOINT ["sh", "-c", "echo no luck; exit 7"]\n'
    proof = verify(variant.engine, variant.derived(tmp_path, "dead", dockerfile), load_regions())
    assert {"SC-002", "SC-003"} <= failed(proof)
    assert {"FR-015", "FR-017"} <= skipped(proof), "the run ends after the first container"
    assert "the first container ended" in reasons(proof, "FR-017")
    details = "\n".join(check.detail for check in proof.checks)
    assert "exit code 7" in details
    assert "no luck" in details


def failed(proof: Proof) -> set[str]:
    return {c.requirement for c in proof.checks if c.status is Status.FAILED}


def skipped(proof: Proof) -> set[str]:
    return {c.requirement for c in proof.checks if c.status is Status.SKIPPED}


def reasons(proof: Proof, requirement: str) -> str:
    return "\n".join(c.detail for c in proof.by_requirement()[requirement])
