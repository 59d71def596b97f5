"""Print the applets of a busybox executable of any architecture, without running it."""

import sys
from pathlib import Path

# libbb/appletlib.c and include/applet_tables.h: all names in one array, sorted, each ended by a
# NUL and the last by two. "[" and "[[" sort first.
_FIRST = b"\0[\0[[\0"
_END = b"\0\0"


def applets(executable: bytes) -> list[str]:
    """Names of the applets in a busybox `executable`; `ValueError` if it is not busybox."""
    begin = executable.index(_FIRST) + 1
    return executable[begin : executable.index(_END, begin)].decode("ascii").split("\0")


if __name__ == "__main__":
    print("\n".join(applets(Path(sys.argv[1]).read_bytes())))
