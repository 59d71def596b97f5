"""The tables of `image/`, which the shell reads too: a row per line, blank lines and comments."""

from collections.abc import Iterator
from pathlib import Path

from harness.core.errors import UsageError


def table_rows(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the place of each row of the table at `path`, for messages, and the row.

    Raises `UsageError` for a file that is missing or is not UTF-8.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}. Run inside a checkout.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not valid UTF-8: {error}. Restore the file.") from error
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip(" \t") and not line.lstrip(" \t").startswith("#"):
            yield f"{path.name} line {number}", line
