"""The same acceptance run on images that are broken on purpose: the checks can fail."""

from pathlib import Path

import pytest

from harness.proof import Proof, Status
from harness.regions import load_regions
from harness.verify.acceptance import verify

from .conftest import Variant

SLOW = """
USER 0
RUN sed -i 's/^    start_region "$region"$/    start_region "$region"; sleep 1/' \
    /opt/finfocus/lib/processes.sh && grep -q 'sleep 1' /opt/finfocus/lib/processes.sh
USER 65532:65532
"""
DEAF = """
USER 0
RUN sed -i "s/^trap 'ff_signal=.*/trap '' TERM INT/" /opt/finfocus/entrypoint.sh \
    && grep -q "trap '' TERM INT" /opt/finfocus/entrypoint.sh
USER 65532:65532
"""
CORRUPTING = """
USER 0
RUN printf '#!/bin/bash\\nexec > >(while read -r line; do echo "${line/:/;}"; done)\\n\
. /opt/finfocus/entrypoint.sh\\n_main\\n' >/opt/finfocus/corrupting.sh \
    && chmod 755 /opt/finfocus/corrupting.sh
USER 65532:65532
ENTRYPOINT ["/opt/finfocus/corrupting.sh"]
"""


@pytest.mark.parametrize(
    ("name", "dockerfile", "requirement"),
    [
        pytest.param("slow", SLOW, "SC-002", id="SC-002-sequential-start-too-slow"),
        pytest.param("deaf", DEAF, "SC-003", id="SC-003-ignores-SIGTERM"),
        pytest.param("corrupting", CORRUPTING, "FR-013", id="FR-013-corrupts-JSON"),
    ],
)
def test_broken_image_is_not_proven(
    variant: Variant, tmp_path: Path, name: str, dockerfile: str, requirement: str
) -> None:
    """The run reports the one requirement that the image breaks, and does not crash."""
    reference = variant.derived(tmp_path, name, dockerfile)
    proof = verify(variant.engine, reference, load_regions())
    assert not proof.proven
    assert requirement in failed(proof), f"{failed(proof)}"


def test_image_without_anything_is_reported_not_crashed_on(
    variant: Variant, tmp_path: Path
) -> None:
    """An image whose container ends at once gets failed checks with its exit code and output."""
    dockerfile = 'ENTRYPOINT ["sh", "-c", "echo no luck; exit 7"]\n'
    proof = verify(variant.engine, variant.derived(tmp_path, "dead", dockerfile), load_regions())
    assert {"SC-002", "SC-003"} <= failed(proof)
    assert {"FR-015", "FR-017"} <= skipped(proof), "the run ends after the first container"
    details = "\n".join(check.detail for check in proof.checks)
    assert "exit code 7" in details
    assert "no luck" in details


def failed(proof: Proof) -> set[str]:
    return {c.requirement for c in proof.checks if c.status is Status.FAILED}


def skipped(proof: Proof) -> set[str]:
    return {c.requirement for c in proof.checks if c.status is Status.SKIPPED}
