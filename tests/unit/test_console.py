"""The progress of a step: bytes and time, without noise."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from docker.errors import DockerException
from rich.console import Console

from harness.build import image as build_image
from harness.core import console
from harness.core.transfer import watched_size
from harness.core.wait import wait_until
from harness.engine.pull import pull_image


class Clock:
    """The time of the steps."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(console, "monotonic", made)
    return made


def watched(monkeypatch: pytest.MonkeyPatch, *, terminal: bool) -> io.StringIO:
    """What is written to stderr."""
    text = io.StringIO()
    made = Console(file=text, force_terminal=terminal, width=120, soft_wrap=True, highlight=False)
    monkeypatch.setattr(console, "stderr", made)
    return text


@pytest.mark.parametrize(
    ("seconds", "done", "lines"),
    [
        pytest.param(0.5, 0, ["• building x"], id="quick"),
        pytest.param(0.5, 5000, ["• building x"], id="quick-bytes"),
        pytest.param(42, 0, ["• building x", "✓ building x (42.0 s)"], id="long"),
        pytest.param(250, 0, ["• building x", "✓ building x (4 min 10 s)"], id="minutes"),
        pytest.param(
            42, 61_200_000, ["• building x", "✓ building x (61.2 MB, 42.0 s)"], id="bytes"
        ),
    ],
)
def test_without_a_terminal_only_long_steps_have_a_second_line(
    seconds: float, done: int, lines: list[str], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line at the start; one at the end with the time if it took more than a second."""
    text = watched(monkeypatch, terminal=False)
    with console.step("building x") as progress:
        progress.news("Step 1/2")
        if done:
            progress.transferred(done, done)
        clock.now += seconds
    assert text.getvalue().splitlines() == lines


def test_failed_step_has_no_second_line(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error follows instead."""
    text = watched(monkeypatch, terminal=False)

    def fail() -> None:
        with console.step("building x"):
            clock.now += 42
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert text.getvalue().splitlines() == ["• building x"]


def test_quiet_step_says_nothing(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--quiet` leaves only problems."""
    text = watched(monkeypatch, terminal=False)
    monkeypatch.setitem(console._state, "quiet", True)
    with console.step("building x"):
        clock.now += 42
    assert text.getvalue() == ""


@pytest.mark.parametrize(
    ("total", "shown"), [(45_600_000, "12.3 MB of 45.6 MB"), (None, "12.3 MB ")]
)
def test_terminal_shows_bytes_speed_and_elapsed_time(
    total: int | None, shown: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The live line has them, the last line has bytes and time."""
    text = watched(monkeypatch, terminal=True)
    with console.step("pulling [x]") as progress:
        assert progress._progress
        task = progress._progress.tasks[0]
        progress._progress.get_time = lambda: clock.now
        for done in (4_100_000, 8_200_000, 12_300_000):
            clock.now += 2
            progress.transferred(done, total)
        assert task.speed == pytest.approx(2_050_000)
        progress._progress.refresh()
    told = text.getvalue()
    assert shown in told.replace(",", " ,")
    assert "2.05 MB/s" in told
    assert "0:00:0" in told
    assert "✓ pulling [x] (12.3 MB, 6.00 s)" in told


class FakeApi:
    """The engine's answer to a pull."""

    def __init__(self, messages: list[dict[str, Any]]) -> None:
        self.messages = messages
        self.asked: dict[str, Any] = {}
        self.api = self.images = self

    def pull(self, repository: str, **options: Any) -> list[dict[str, Any]]:
        self.asked = {"repository": repository, **options}
        return self.messages

    def get(self, name: str) -> Any:
        return name


def downloading(layer: str, current: int, total: int) -> dict[str, Any]:
    detail = {"current": current, "total": total}
    return {"id": layer, "status": "Downloading", "progressDetail": detail}


@pytest.mark.parametrize(
    ("reference", "asked", "name"),
    [
        ("alpine:3.19", ("alpine", "3.19"), "alpine:3.19"),
        ("alpine", ("alpine", "latest"), "alpine:latest"),
        ("host:5000/a@sha256:12", ("host:5000/a", "sha256:12"), "host:5000/a@sha256:12"),
    ],
    ids=["tag", "no-tag", "digest"],
)
def test_pull_counts_the_bytes_of_all_layers(
    reference: str,
    asked: tuple[str, str],
    name: str,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Extraction does not count; a layer that is complete counts in full."""
    text = watched(monkeypatch, terminal=False)
    engine: Any = FakeApi(
        [
            {"status": "Pulling from x", "id": "3.19"},
            downloading("a", 1_000_000, 3_000_000),
            downloading("b", 2_000_000, 2_000_000),
            {"id": "c", "status": "Already exists"},
            {"id": "a", "status": "Download complete", "progressDetail": {}},
            {"id": "a", "status": "Extracting", "progressDetail": {"current": 9, "total": 9}},
        ]
    )
    real = console.Step.transferred

    def later(step: console.Step, done: int, total: int | None = None) -> None:
        clock.now += 1
        real(step, done, total)

    monkeypatch.setattr(console.Step, "transferred", later)
    assert pull_image(engine, reference, platform="linux/arm64") == name
    assert (engine.asked["repository"], engine.asked["tag"]) == asked
    assert engine.asked["platform"] == "linux/arm64"
    assert text.getvalue().splitlines()[-1] == f"✓ pulling {reference} (5 MB, 3.00 s)"


def test_failed_pull_has_the_reason_of_the_engine() -> None:
    """An error in the middle of the stream is raised, not only a missing image."""
    engine: Any = FakeApi([downloading("a", 1, 2), {"error": "unexpected EOF"}])
    with pytest.raises(DockerException, match="unexpected EOF"):
        pull_image(engine, "alpine:3.19")


def test_size_of_a_directory_is_the_progress(tmp_path: Path) -> None:
    """A tool that downloads without a word is watched by what it writes; deleted files count."""
    progress = console.Step("downloading")
    with watched_size(tmp_path / "new", progress):
        (tmp_path / "new" / "deep").mkdir(parents=True)
        file = tmp_path / "new" / "deep" / "blob"
        file.write_bytes(b"x" * 5000)
        wait_until(lambda: "5 kB" in progress.summary, timeout=5, what="the size is shown")
        file.unlink()
    assert progress.summary == "✓ downloading (5 kB)"


def test_build_counts_the_downloaded_assets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line of download.sh adds the size of its tarball."""
    told: list[tuple[int, int | None]] = []
    monkeypatch.setattr(
        console.Step, "transferred", lambda _, done, total=None: told.append((done, total))
    )
    stream = iter(
        [
            {"stream": "downloaded a.tar.gz\ndownloaded b"},
            {"stream": ".tar.gz\ndownloaded other\n"},
            {"stream": "Successfully built 0123456789ab\n"},
        ]
    )
    sizes = {"a.tar.gz": 30, "b.tar.gz": 12}
    build_image._follow(stream, console.Step("building"), sizes)
    assert told == [(30, 42), (42, 42)]
