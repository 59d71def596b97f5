"""How checks become entries of the proof."""

import pytest

from harness.core.errors import HarnessError
from harness.core.proof import Check, Status
from harness.core.recorder import Limits, Recorder
from harness.core.text import quantity


def only(recorder: Recorder) -> Check:
    assert len(recorder.checks) == 1
    return recorder.checks[0]


@pytest.mark.parametrize(
    ("value", "limits", "status"),
    [
        pytest.param(10.0, Limits(bound=10), Status.PASSED, id="at-bound"),
        pytest.param(10.1, Limits(bound=10), Status.FAILED, id="above"),
        pytest.param(1.0, Limits(floor=2), Status.FAILED, id="below"),
        pytest.param(None, Limits(bound=10), Status.FAILED, id="not-measured"),
        pytest.param(None, None, Status.PASSED, id="nothing-to-measure"),
    ],
)
def test_value_is_compared(value: float | None, limits: Limits | None, status: Status) -> None:
    """A check passes only if its value is within its limits."""
    recorder = Recorder()
    with recorder.check("FR-001", "t", limits=limits) as finding:
        finding.value = value
    assert only(recorder).status is status


@pytest.mark.parametrize("error", [HarnessError("boom"), KeyError("boom"), OSError("boom")])
def test_whatever_breaks_is_a_failure_with_its_reason(error: Exception) -> None:
    """An exception in a check fails only that check."""
    recorder = Recorder()
    with recorder.check("FR-001", "t"):
        raise error
    assert only(recorder).status is Status.FAILED
    assert "boom" in only(recorder).detail


def test_attempt_records_an_exception_and_goes_on() -> None:
    """What a check does after a failed attempt still counts."""
    recorder = Recorder()
    with recorder.check("FR-001", "t") as finding:
        with finding.attempt():
            raise KeyError("boom")
        finding.measured = "x"
    assert only(recorder).measured == "x"
    assert only(recorder).detail == "KeyError: 'boom'"


def test_named_limits_say_which_number_is_outside() -> None:
    """A check that compares several numbers names the one that is outside its limits."""
    recorder = Recorder()
    with recorder.check(
        "FR-001", "t", limits=Limits(bound=5, unit="s", name="gone after")
    ) as found:
        found.value = 6
        found.compare(3, Limits(floor=4, name="restarts"))
        found.compare(4, Limits(floor=4, bound=4))
    assert only(recorder).detail.splitlines() == [
        "restarts: 3 is below the limit: ≥ 4",
        "gone after: 6 s exceeds the limit: ≤ 5 s",
    ]


@pytest.mark.parametrize("quiet", [True, False])
def test_quiet_recorder_prints_nothing(quiet: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """A quiet recorder collects checks and prints none of them."""
    recorder = Recorder(quiet=quiet)
    with recorder.check("FR-001", "t") as finding:
        finding.fail("boom")
    assert only(recorder).status is Status.FAILED
    assert ("boom" in capsys.readouterr().err) is not quiet


def test_interrupt_is_not_swallowed() -> None:
    """Ctrl+C in a check ends the run."""
    recorder = Recorder()
    with pytest.raises(KeyboardInterrupt), recorder.check("FR-001", "t"):
        raise KeyboardInterrupt


def test_skip_needs_and_keeps_its_reason() -> None:
    """A skipped check keeps its reason and what it has measured."""
    recorder = Recorder()
    with recorder.check("FR-001", "t", limits=Limits(bound=1)) as finding:
        finding.measured = "x"
        finding.skip("no alpine")
    assert (only(recorder).status, only(recorder).detail) == (Status.SKIPPED, "no alpine")
    assert only(recorder).measured == "x"


def test_long_lists_of_problems_are_shortened() -> None:
    """A thousand problems still give a readable failure."""
    recorder = Recorder()
    with recorder.check("FR-001", "t") as finding:
        for number in range(1000):
            finding.fail(str(number))
    assert only(recorder).detail.splitlines()[-1] == "and 988 more"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.234, "s", "1.23 s"),
        (10.0, "s", "10 s"),
        (48.26, "ms", "48.3 ms"),
        (2.0e9, "B", "2.00 GB"),
        (25e6, "B", "25.0 MB"),
        (12.0, "", "12"),
        (0.02534, "s", "0.0253 s"),
        (923111.4, "lines/s", "923,111 lines/s"),
    ],
)
def test_quantities_are_written_for_people(value: float, unit: str, text: str) -> None:
    """Numbers have a unit and a readable number of digits."""
    assert quantity(value, unit) == text
