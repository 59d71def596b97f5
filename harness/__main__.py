"""Entry point. The imports are slow, so signals are handled before them."""

import sys

from harness.core.leave import INTERRUPTED, exit_interrupted, leave_on_signals


def main() -> None:
    """Run the command line and exit with its documented code."""
    leave_on_signals()
    from harness.cli.entry import run  # noqa: PLC0415 (Ctrl+C during this import is handled)

    code = run()
    if code == INTERRUPTED:
        exit_interrupted()
    sys.exit(code)


if __name__ == "__main__":
    main()
