"""Entry point: maps errors to exit codes; a traceback never reaches a user."""

import signal
import sys
from types import FrameType

from harness.cli import app
from harness.console import die
from harness.errors import HarnessError

INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit with its documented code."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app(standalone_mode=True)
    except HarnessError as error:
        die(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        die("interrupted")
        sys.exit(INTERRUPTED)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM leaves by the same way as Ctrl+C, so that every context manager cleans up."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
