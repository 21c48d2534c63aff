"""Rings of random keys, as HBase's IntegrationTestBigLinkedList makes them: what is lost leaves a hole.

A ring is ``width * wrap`` rows with random keys of 16 bytes. They are put in batches of ``width``; each row
of a batch names one of the batch before, which was acknowledged. At the end the first batch is put again, so
that it names rows of the last: shifted by one, which makes one single ring of all chains. Of complete rings
every row is named by exactly one other, so whatever was acknowledged and lost is named and not there.

    row    16 random bytes
    p:prev the key it names; empty in the first batch, until the ring is closed
    t:tag  derived from the key: a value that is another row's shows, and so does a family that was lost
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

KEY_BYTES = 16
PREV, TAG = b"p:prev", b"t:tag"
Row = tuple[bytes, dict[bytes, bytes]]


def tag_of(key: bytes) -> bytes:
    """The value of ``TAG`` of a row."""
    return b"%08x" % zlib.crc32(key)


def row_of(key: bytes, prev: bytes) -> Row:
    """What is put."""
    return key, {PREV: prev, TAG: tag_of(key)}


def ring(chance: random.Random, width: int, wrap: int) -> Iterator[list[Row]]:
    """The batches of one ring, in the order in which they must be acknowledged."""
    first = before = [chance.randbytes(KEY_BYTES) for _ in range(width)]
    yield [row_of(key, b"") for key in first]
    for _ in range(wrap - 1):
        keys = [chance.randbytes(KEY_BYTES) for _ in range(width)]
        yield [row_of(key, prev) for key, prev in zip(keys, before, strict=True)]
        before = keys
    shifted = before[1:] + before[:1]
    yield [row_of(key, prev) for key, prev in zip(first, shifted, strict=True)]


@dataclass
class Verification:
    """What a scan over whole rings shows, by HBase's names; ``keys``: some that are not in order."""

    referenced: int = 0  # rows that exist and are named
    unreferenced: int = 0  # rows that exist and are not named
    undefined: int = 0  # rows that are named and do not exist: lost
    extra: int = 0  # rows that are named more than once
    lost_families: int = 0  # rows with only one of their two families
    wrong_values: int = 0  # rows with another row's value
    keys: list[bytes] = field(default_factory=list)

    def is_whole(self, nodes: int) -> bool:
        """Nothing of so many nodes is lost, and there are no others."""
        return self == Verification(referenced=nodes)


SHOWN = 10


def verify(rows: Iterable[Row]) -> Verification:
    """Look at every row of the table."""
    found = Verification()
    there: set[bytes] = set()
    named: set[bytes] = set()
    for key, cells in rows:
        there.add(key)
        if len(cells) != 2:
            found.lost_families += 1
            found.keys.append(key)
        elif cells[TAG] != tag_of(key):
            found.wrong_values += 1
            found.keys.append(key)
        prev = cells.get(PREV)
        if prev:
            found.extra += prev in named
            named.add(prev)
    found.referenced = len(there & named)
    found.unreferenced = len(there) - found.referenced
    found.undefined = len(named) - found.referenced
    found.keys += sorted(there ^ named)
    del found.keys[SHOWN:]
    return found
