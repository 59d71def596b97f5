"""Run a command: errors become exit codes, and a traceback never reaches a user."""

import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING

import requests
import urllib3
from docker.errors import DockerException

from harness.cli import output
from harness.cli.main import app
from harness.core.console import detail, die
from harness.core.errors import EnvironmentMissingError, HarnessError, UsageError
from harness.core.leave import INTERRUPTED, SENTENCE, SIGNALS, ignore_signals, json_wanted, leave

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

DEFECT = 70  # EX_SOFTWARE, sysexits(3)
SAME_PRESS_SECONDS = 0.5  # a wrapper may forward a signal that the terminal already sent
AGAIN_SECONDS = 0.01
_interrupted_at: list[float] = []


@dataclass(frozen=True, kw_only=True)
class _End:
    """How a command ended."""

    code: int
    sentence: str = ""  # for stderr


def _command_line() -> object:
    # The name, so that completion and usage texts do not depend on how it was started. Typer
    # prints usage errors itself, but not as JSON.
    return app(prog_name="harness", standalone_mode=not json_wanted())


def run(command: Callable[[], object] = _command_line) -> int:
    """Run `command`, by default the command line; return its documented exit code.

    SIGTERM and Ctrl+C unwind it. An error is printed as one sentence, never as a traceback.
    """
    output.reset()
    _interrupted_at.clear()
    try:
        _listen()
        end = _end_of(command)
        # Inside the block, so that a signal until here is handled below.
        ignore_signals()
    except KeyboardInterrupt:  # cleanup is done
        ignore_signals()
        end = _End(code=INTERRUPTED, sentence=SENTENCE)
    if end.sentence:
        output.print_error(end.code, end.sentence)
        die(end.sentence)
    return end.code


def _end_of(command: Callable[[], object]) -> _End:
    try:
        code = command()
        return _ended(code if isinstance(code, int | str) else 0)
    except SystemExit as end:
        return _ended(end.code or 0)
    except HarnessError as error:
        return _End(code=error.exit_code, sentence=str(error))
    except (DockerException, requests.RequestException, urllib3.exceptions.HTTPError) as error:
        detail(traceback.format_exc())
        text = f"the container engine failed: {error}. Run `harness doctor` to diagnose."
        return _End(code=EnvironmentMissingError.exit_code, sentence=text)
    except Exception as error:
        return _unexpected(error)


def _unexpected(error: Exception) -> _End:
    """The end of a command that failed in a way that is not a `HarnessError`."""
    if usage := getattr(error, "format_message", None):  # Typer has its own copy of Click
        return _End(
            code=UsageError.exit_code, sentence=f"{usage().rstrip('.')}. Run `harness --help`."
        )
    detail(traceback.format_exc())
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        text = f"{error.strerror or error}{where}. Check free disk space and permissions."
        return _End(code=EnvironmentMissingError.exit_code, sentence=text)
    text = f"internal error: {type(error).__name__}: {error}. Run with --verbose for details."
    return _End(code=DEFECT, sentence=text)


def _ended(code: int | str) -> _End:
    """The end of a command that exits with `code`; Typer makes 130 of a KeyboardInterrupt."""
    if isinstance(code, str):
        return _End(code=1, sentence=code)
    return _End(code=code, sentence=SENTENCE if code == INTERRUPTED else "")


def _listen() -> None:
    """Turn signals into KeyboardInterrupt, so that every context manager cleans up."""
    sys.unraisablehook = _unraisable
    for number in (*SIGNALS, signal.SIGALRM):
        signal.signal(number, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Handle SIGTERM like Ctrl+C.

    A second Ctrl+C exits immediately; the next run cleans up.
    """
    now = time.monotonic()
    _interrupted_at.append(now)
    if len(_interrupted_at) == 1:
        raise KeyboardInterrupt
    if now - _interrupted_at[0] > SAME_PRESS_SECONDS:
        leave(document=output.error_wanted())


def _unraisable(unraisable: "UnraisableHookArgs") -> None:
    """Raise a KeyboardInterrupt again that hit a finalizer, where Python drops it."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        _interrupted_at.clear()
        signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)
    else:
        sys.__unraisablehook__(unraisable)
