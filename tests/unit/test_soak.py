"""What the soak counts as growth."""

from __future__ import annotations

import dataclasses

import pytest

from tests.e2e.faults.soak import Sample, growth

ALL_UP = Sample(
    seconds=0,
    restarts=0,
    supervisor=3000,
    supervisor_files=43,
    log_writer=4000,
    log_writer_files=30,
    proxy=9000,
    proxy_files=60,
    state_files=35,
    processes=16,
)


def sampled(*files: int, memory: int = 3000) -> list[Sample]:
    """A soak that begins with all regions up, and in which the supervisor then holds `files`."""
    later = (
        dataclasses.replace(ALL_UP, restarts=12 * number, supervisor_files=held, supervisor=memory)
        for number, held in enumerate(files, 1)
    )
    return [ALL_UP, *later]


@pytest.mark.parametrize(
    ("samples", "grown"),
    [
        pytest.param(sampled(*[40] * 15, *[43] * 5), [], id="fewer-processes-early"),
        pytest.param(sampled(*[40] * 20), [], id="steady"),
        pytest.param(
            sampled(*range(43, 63)), ["supervisor_files: 49, then 60"], id="one-file-per-restart"
        ),
    ],
)
def test_growth_is_more_than_with_all_regions_up(samples: list[Sample], grown: list[str]) -> None:
    """A region between two processes has no file of the supervisor; that is no growth later."""
    assert growth(samples) == grown


def test_memory_grows_from_the_second_quarter() -> None:
    """Memory may grow at first, when the programs have done little."""
    samples = [*sampled(*[43] * 10), *sampled(*[43] * 10, memory=4000)[1:]]
    assert growth(samples) == ["supervisor grew by 1000 KiB, more than 512"]
    assert growth([ALL_UP, *samples[11:]]) == []
