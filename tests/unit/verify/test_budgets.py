"""Limits of requirements are fixed; timeouts follow from the measured start."""

from __future__ import annotations

import pytest

from harness.core.settings import STARTUP_SECONDS, default_number
from harness.verify.budgets import MARGIN, Budgets, patience
from harness.verify.limits import EMULATED, PROMISED

from .fakes import FakeTarget, image_of

LONGEST = 135
DEFAULT = default_number(STARTUP_SECONDS) + MARGIN


def test_quick_image_gets_the_promised_times() -> None:
    """A start within the limit leaves the default timeouts."""
    budgets = Budgets.from_ready(0.4, PROMISED, longest=LONGEST)
    assert budgets == Budgets(ready=10, requests=10, recovery=10, health_ms=50)


@pytest.mark.parametrize("seconds", [12.6, 40.0, 120.0])
def test_budgets_of_a_slow_image_cover_its_own_start(seconds: float) -> None:
    """Each wait that includes a start is longer than the measured start, and bounded."""
    budgets = Budgets.from_ready(seconds, PROMISED, longest=LONGEST)
    assert seconds < budgets.ready <= LONGEST
    assert seconds <= budgets.requests
    assert seconds + 0.8 < budgets.recovery
    assert budgets.health_ms > PROMISED.health_ms


def test_fr_017_budget_has_room_for_a_start_that_is_just_in_time() -> None:
    """FR-017 (bounded restarts): after the backoff there is time for another start of 9.9 s."""
    assert Budgets.from_ready(9.9, PROMISED, longest=LONGEST).recovery > 9.9 + 0.8


def test_emulated_image_has_the_emulated_times() -> None:
    """The timeouts of an emulated image are at least its limits."""
    budgets = Budgets.from_ready(7.6, EMULATED, longest=LONGEST)
    assert (budgets.ready, budgets.recovery, budgets.health_ms) == (40, 40, 1000)


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        pytest.param((), DEFAULT, id="default"),
        pytest.param(("PATH=/bin", "FINFOCUS_STARTUP_SECONDS=30"), 45, id="the-image's-own"),
        pytest.param(("FINFOCUS_STARTUP_SECONDS=999999",), 315, id="bounded"),
        pytest.param(("FINFOCUS_STARTUP_SECONDS=1",), 16, id="short"),
        pytest.param(("FINFOCUS_STARTUP_SECONDS=",), DEFAULT, id="empty"),
        pytest.param(("FINFOCUS_STARTUP_SECONDS=x",), DEFAULT, id="no-number"),
        pytest.param(("FINFOCUS_STARTUP_SECONDS=" + "9" * 5000,), DEFAULT, id="too-long"),
        pytest.param(("FINFOCUS_STARTUP_SECONDS=٣",), DEFAULT, id="other-digits"),
        pytest.param(("FINFOCUS_STARTUP_SECONDS",), DEFAULT, id="no-value"),
    ],
)
def test_patience_is_the_image_s_start_time_and_a_margin(
    environ: tuple[str, ...], seconds: float
) -> None:
    """The run waits as long as the image's own start limit, within bounds."""
    assert patience(environ) == seconds
    assert FakeTarget(image=image_of(*environ)).patience == seconds


def test_patience_is_never_less_than_the_limit() -> None:
    """An emulated image with a short start limit still gets the emulated limit."""
    assert patience(("FINFOCUS_STARTUP_SECONDS=1",), EMULATED) == EMULATED.ready


def test_limits_do_not_follow_the_measured_time() -> None:
    """SC-002 and SC-003 stay the same, however slow the image is."""
    target = FakeTarget(ready_seconds=60.0)
    assert (target.times.ready, target.times.stop) == (10, 5)
    assert target.budgets.ready == DEFAULT
