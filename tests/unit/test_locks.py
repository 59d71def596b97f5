"""Locks between runs on one machine."""

import threading
from pathlib import Path

import pytest

from harness.core import locks


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "cache_directory", lambda: tmp_path)


def test_second_one_waits_for_the_first() -> None:
    """The second enters only after the first has left."""
    order: list[str] = []
    waits = threading.Event()

    def second() -> None:
        waits.set()
        with locks.exclusive("a build"):
            order.append("second")

    with locks.exclusive("a build"):
        thread = threading.Thread(target=second)
        thread.start()
        waits.wait(10)
        thread.join(0.1)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_taken_lock_can_be_an_error() -> None:
    """A run that must not wait raises the given error; other names are free."""
    with locks.exclusive("a release"):
        with (
            pytest.raises(KeyError, match="in use"),
            locks.exclusive("a release", taken=KeyError("in use")),
        ):
            pytest.fail("entered")
        with locks.exclusive("another release", taken=KeyError("in use")):
            pass
    with locks.exclusive("a release", taken=KeyError("in use")):
        pass
