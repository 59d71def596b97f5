"""Entry point: maps errors to exit codes; a traceback never reaches a user."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from types import FrameType

import requests
import urllib3
from docker.errors import DockerException

from harness.cli.main import app
from harness.core.console import detail, die
from harness.core.errors import EnvironmentMissingError, HarnessError

DEFECT = 70  # EX_SOFTWARE, sysexits(3)
INTERRUPTED = 130
SAME_PRESS_SECONDS = 0.5  # a wrapper may forward a signal that the terminal already sent
_interrupted_at: list[float] = []


def main() -> None:
    """Run the command line and exit with its documented code."""
    run_to_exit_code(lambda: app(standalone_mode=True))


def run_to_exit_code(command: Callable[[], object]) -> None:
    """Run `command`; SIGTERM and Ctrl+C unwind it, and errors exit with their documented codes.

    Raises `SystemExit` unless `command` returns.
    """
    _interrupted_at.clear()
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    try:
        command()
    except HarnessError as error:
        die(str(error))
        sys.exit(error.exit_code)
    except SystemExit as end:
        # Typer turns a KeyboardInterrupt into this, without a message.
        if end.code == INTERRUPTED:
            _say_interrupted()
        raise
    except KeyboardInterrupt:
        _say_interrupted()
        sys.exit(INTERRUPTED)
    except (DockerException, requests.RequestException, urllib3.exceptions.HTTPError) as error:
        detail(traceback.format_exc())
        die(f"the container engine failed: {error}. Run `harness doctor` to diagnose.")
        sys.exit(EnvironmentMissingError.exit_code)
    except OSError as error:
        detail(traceback.format_exc())
        where = f" ({error.filename})" if error.filename else ""
        die(f"{error.strerror or error}{where}. Check free disk space and permissions.")
        sys.exit(EnvironmentMissingError.exit_code)
    except Exception as error:
        detail(traceback.format_exc())
        die(f"internal error: {type(error).__name__}: {error}. Run with --verbose for details.")
        sys.exit(DEFECT)


def _say_interrupted() -> None:
    # Cleanup is done. Ignore further signals while the interpreter exits.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    die("interrupted")


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Handle SIGTERM like Ctrl+C, so that every context manager cleans up.

    A second Ctrl+C exits immediately; the next run cleans up.
    """
    now = time.monotonic()
    _interrupted_at.append(now)
    if len(_interrupted_at) == 1:
        raise KeyboardInterrupt
    if now - _interrupted_at[0] > SAME_PRESS_SECONDS:
        die("interrupted")
        os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
