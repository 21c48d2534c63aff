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

import hyperbase
from hyperbase import Delete, Put

BATCH_ROWS = 8
SETTINGS = {
    "memstore_flush_size_bytes": 48 << 10,
    "memstore_limit_bytes": 1 << 20,
}
FILL = b"x" * 400


def say(text: str) -> None:
    """One write, so that lines of threads do not mix, and nothing is lost in a buffer."""
    os.write(1, text.encode() + b"\n")


def main(directory: str, first: int) -> None:
    """Write until killed."""
    connection = hyperbase.connect(directory, **SETTINGS)
    backend = connection._backend  # the worker process should have its share: no public setting for that
    config = backend.store.config  # type: ignore[union-attr]
    object.__setattr__(config, "compaction_worker_threshold_bytes", 1 << 16)
    table = connection.table("t")

    def put(number: int) -> None:
        table.put(b"p%08d" % number, {b"a:n": b"%d" % number, b"b:fill": FILL})
        say(f"put {number}")

    def batch(number: int) -> None:
        table.run_batch(
            [Put(b"b%08d-%d" % (number, index)).add(b"a:n", b"%d" % number) for index in range(BATCH_ROWS)]
        )
        say(f"batch {number}")

    def delete(number: int) -> None:
        row = b"d%02d" % (number % 20)
        if number % 2:
            table.run_batch([Delete(row)])
        else:
            table.put(row, {b"a:n": b"%d" % number, b"b:fill": FILL})
        say(f"delete {number}")

    def increment(number: int) -> None:
        value = table.increment(b"counter", {b"a:n": 1})[b"a:n"]
        say(f"increment {value}")
        if number % 50 == 0:
            metrics = connection.metrics()
            say(f"metrics {_sum(metrics, 'flush')} {_sum(metrics, 'compact')}")

    for work in (put, batch, delete, increment):
        threading.Thread(target=_forever, args=(work, first)).start()
    say("ready 0")


def _sum(metrics: dict[str, float], word: str) -> int:
    return int(sum(value for name, value in metrics.items() if word in name.lower() and "num_ops" in name.lower()))


def _forever(work: Callable[[int], None], first: int) -> None:
    number = first
    while True:
        work(number)
        number += 1


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
