"""``python -m tests.support.skewed_clock``: ``hyperbase`` whose wall clock jumps when a test says so.

The file that TEST_CLOCK_FILE names holds how far the clock is off, in nanoseconds. Other clocks are right, as
on a machine whose time somebody sets.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
import time
from pathlib import Path

VARIABLE = "TEST_CLOCK_FILE"
_OFFSET = struct.Struct("<q")


def set_clock(path: Path, offset_s: float) -> None:
    """Make the clock of processes that look at this file so many seconds wrong."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.pwrite(descriptor, _OFFSET.pack(int(offset_s * 1e9)), 0)
    os.close(descriptor)


def skew(path: str) -> None:
    """From now on this process believes the file."""
    with open(path, "rb") as file:
        offset = mmap.mmap(file.fileno(), _OFFSET.size, access=mmap.ACCESS_READ)
    real = time.time_ns

    def skewed_ns() -> int:
        return real() + int(_OFFSET.unpack_from(offset)[0])

    time.time_ns = skewed_ns
    time.time = lambda: skewed_ns() / 1e9


if __name__ == "__main__":
    skew(os.environ[VARIABLE])
    from hyperbase.cli.main import main

    sys.exit(main())
