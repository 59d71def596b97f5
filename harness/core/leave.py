"""Exit on a signal, with one sentence. Imports nothing slow: needed before the command line is."""

import os
import signal
import sys
from contextlib import suppress
from typing import NoReturn

INTERRUPTED = 130
SENTENCE = "interrupted"
SIGNALS = (signal.SIGINT, signal.SIGTERM)
_DOCUMENT = b'{"error": {"exit_code": 130, "message": "interrupted"}}\n'


def json_wanted() -> bool:
    """Whether the command line has `--json`, before it is parsed."""
    arguments = sys.argv[1:]
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return "--json" in arguments[:end]


def leave(*, document: bool) -> NoReturn:
    """Exit immediately, without cleanup; `document` also prints the error as JSON."""
    # Not `print`: a signal may arrive while the stream's buffer is locked.
    if document:
        _write(1, _DOCUMENT)
    _write(2, f"error: {SENTENCE}\n".encode())
    os._exit(INTERRUPTED)


def leave_on_signals() -> None:
    """Exit immediately on Ctrl+C or SIGTERM from now on: there is nothing to clean up yet."""
    for number in SIGNALS:
        signal.signal(number, lambda *_: leave(document=json_wanted()))


def ignore_signals() -> None:
    """Ignore Ctrl+C and SIGTERM from now on: cleanup is done and the interpreter exits."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def exit_interrupted() -> NoReturn:
    """Exit after an interrupted command has cleaned up and said so.

    Without the interpreter's own exit. It waits for threads, while signals are ignored; and if the
    interrupt hit code in a string, which `dataclasses` runs, it kills itself with SIGINT
    (CPython, `_Py_UnhandledKeyboardInterrupt` in Modules/main.c).
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # closed
            stream.flush()
    os._exit(INTERRUPTED)


def _write(descriptor: int, data: bytes) -> None:
    with suppress(OSError):  # closed by the reader, or by the caller: `harness … >&-`
        os.write(descriptor, data)
