"""The rows, keys and amounts that every side of the network benchmark agrees on.

java/HBaseBench.java has the same constants and makes the same keys; a key is the number of its row, scattered
over 16 decimal digits, so that neither side is handed rows in key order.
"""

from __future__ import annotations

import random
from itertools import count

CELLS = 10
BATCH = 100  # rows of a batch, of a multi-get and of a short scan
SCAN_CALL = 1000  # rows taken between two looks at the clock in a full scan
POOL = 2000  # different rows of values
COUNTERS = 1000
KEYS_PER_CLIENT = 20_000_000
SEED = 20020327

READ = "bench_read"
WRITE = "bench_write"
FAMILY = "cf"
COUNTER = b"cf:n"
COLUMNS = tuple(b"cf:c%02d" % index for index in range(CELLS))

Row = dict[bytes, bytes]


def key(number: int) -> bytes:
    """The 16-byte key of a row; different numbers below 10**15 have different keys."""
    return b"%016d" % (number * 2_654_435_761 % 10**15)


def make_pool(rows: int = POOL) -> list[Row]:
    """Rows of 10 x 100 B, half random, half compressible."""
    payload = random.Random(SEED).randbytes(1 << 20)
    pool = []
    for number in range(rows):
        data = {}
        for index, column in enumerate(COLUMNS):
            offset = (number * 37 + index * 11) % (len(payload) - 50)
            data[column] = payload[offset : offset + 50] + b"%050d" % number
        pool.append(data)
    return pool


class Source:
    """What one client reads and writes: random keys of rows that exist, new rows under keys of its own."""

    def __init__(self, client: int, rows: int) -> None:
        self._random = random.Random(SEED + client)
        self._rows = rows
        self._pool = make_pool()
        self._numbers = count((client + 1) * KEYS_PER_CLIENT)

    def random_key(self) -> bytes:
        return key(int(self._random.random() * self._rows))

    def sorted_keys(self, wanted: int) -> list[bytes]:
        return sorted(self.random_key() for _ in range(wanted))

    def counter_key(self) -> bytes:
        return key(int(self._random.random() * COUNTERS))

    def new_row(self) -> tuple[bytes, Row]:
        number = next(self._numbers)
        return key(number), self._pool[number % POOL]

    def row(self, number: int) -> tuple[bytes, Row]:
        """Row ``number`` of the table that is read."""
        return key(number), self._pool[number % POOL]
