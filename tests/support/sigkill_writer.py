"""A process that writes until it is killed, and says on standard output what was acknowledged.

``python -m tests.support.sigkill_writer DIRECTORY FIRST``: four threads number their operations from FIRST
on (the counter aside) and print a line after each acknowledgement: ``put N``, ``batch N``, ``delete N``,
``increment VALUE``, now and then ``metrics FLUSHES COMPACTIONS``.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import hyperbase
from hyperbase import Delete, Put

BATCH_ROWS = 8
DELETE_ROWS = 20
SETTINGS: dict[str, Any] = {
    "memstore_flush_size_bytes": 48 << 10,
    "memstore_limit_bytes": 1 << 20,
    "wal_segment_bytes": 256 << 10,
    "compaction_worker_threshold_bytes": 64 << 10,
}
FILL = b"x" * 400


def say(text: str) -> None:
    """One write, so that lines of threads do not mix, and nothing is lost in a buffer."""
    os.write(1, text.encode() + b"\n")


def main(directory: str, first: int) -> None:
    """Write until killed."""
    connection = hyperbase.connect(directory, **SETTINGS)
    table = connection.table("t")

    def put(number: int) -> None:
        table.put(b"p%08d" % number, {b"a:n": b"%d" % number, b"b:fill": FILL})
        say(f"put {number}")

    def batch(number: int) -> None:
        value = b"%d" % number
        outcomes = table.run_batch(
            [Put(b"b%08d-%d" % (number, index)).add(b"a:n", value) for index in range(BATCH_ROWS)]
        )
        assert outcomes == [None] * BATCH_ROWS, outcomes
        say(f"batch {number}")

    def delete(number: int) -> None:
        row = b"d%02d" % (number % DELETE_ROWS)
        if number % 2:
            assert table.run_batch([Delete(row)]) == [None]
        else:
            table.put(row, {b"a:n": b"%d" % number, b"b:fill": FILL})
        say(f"delete {number}")

    def increment(number: int) -> None:
        value = table.increment(b"counter", {b"a:n": 1})[b"a:n"]
        say(f"increment {value}")
        if number % 50 == 0:
            metrics = connection.metrics()
            say(f"metrics {metrics['FlushTime_num_ops']:.0f} {metrics['CompactionTime_num_ops']:.0f}")

    for work in (put, batch, delete, increment):
        threading.Thread(target=_forever, args=(work, first)).start()
    say("ready 0")


def _forever(work: Callable[[int], None], first: int) -> None:
    number = first
    while True:
        work(number)
        number += 1


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
