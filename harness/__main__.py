"""Entry point: maps errors to exit codes; a traceback never reaches a user."""

import os
import signal
import sys
import time
import traceback
from types import FrameType

import requests
import urllib3
from docker.errors import DockerException

from harness.cli.main import app
from harness.core.console import detail, die
from harness.core.errors import EnvironmentMissingError, HarnessError

DEFECT = 70  # EX_SOFTWARE, sysexits(3)
INTERRUPTED = 130
SAME_PRESS_SECONDS = 0.5  # a wrapper may pass on the signal that the terminal has sent already
_interrupted_at: list[float] = []


def main() -> None:
    """Run the command line and exit with its documented code."""
    _interrupted_at.clear()
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    try:
        app(standalone_mode=True)
    except HarnessError as error:
        die(str(error))
        sys.exit(error.exit_code)
    except SystemExit as end:
        # The command line library turns a KeyboardInterrupt into this, without a word.
        if end.code == INTERRUPTED:
            # All is cleaned up. A second signal would now meet Python's own end, and the default.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            die("interrupted")
        raise
    except (DockerException, requests.RequestException, urllib3.exceptions.HTTPError) as error:
        detail(traceback.format_exc())
        die(f"the container engine failed: {error}; `harness doctor` says what is there")
        sys.exit(EnvironmentMissingError.exit_code)
    except OSError as error:
        detail(traceback.format_exc())
        where = f" ({error.filename})" if error.filename else ""
        die(f"the machine refused: {error.strerror or error}{where}: is there room, and the right?")
        sys.exit(EnvironmentMissingError.exit_code)
    except Exception as error:
        detail(traceback.format_exc())
        die(f"a defect of the harness: {type(error).__name__}: {error}; --verbose shows where")
        sys.exit(DEFECT)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM leaves by the same way as Ctrl+C, so that every context manager cleans up.

    Who presses Ctrl+C again wants no more of that: the run ends at once, and the next one sweeps.
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
