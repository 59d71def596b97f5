"""Entry point. The imports are slow, so signals are handled before them."""

import sys

from harness.core.leave import leave_on_signals


def main() -> None:
    """Run the command line and exit with its documented code."""
    leave_on_signals()
    from harness.cli.entry import run  # noqa: PLC0415 (Ctrl+C during this import is handled)

    sys.exit(run())


if __name__ == "__main__":
    main()
