"""Bloom filters over row keys: "certainly not here" for a microsecond, wrong about 1% of the time.

Bits   := bit i is bit (i % 8), least significant first, of byte i // 8.
Probes := for i in 0..6: ((a + i * b) mod 2**32) * bit_count >> 32, with a = crc32c(key) and
          b = crc32(key) | 1 (the zlib polynomial: two polynomials make two independent hashes).
Keys   := the row; in ROWCOL filters also row + b"\\0" + qualifier of every column of the row. Family
          markers have an empty qualifier, so row + b"\\0" tells of them.

The probes are part of the file format: every process and version computes the same ones.
Invariant: no false negatives. Threads: filters are immutable; a builder has one owner.
"""

from __future__ import annotations

import zlib

import google_crc32c
import numpy as np
import numpy.typing as npt

BITS_PER_KEY = 10
PROBE_COUNT = 7
# A filter covers at most this many keys, so building one needs bounded memory (24 MB at most).
MAX_KEYS_PER_FILTER = 1 << 20
_MASK = 0xFFFFFFFF

_crc32c = google_crc32c.value
_crc32 = zlib.crc32

Hashes = npt.NDArray[np.uint64]


class BloomFilter:
    """An immutable set of bits that answers whether a key may have been added."""

    __slots__ = ("bit_count", "bits")

    def __init__(self, bits: bytes, bit_count: int) -> None:
        if not isinstance(bits, bytes) or not 0 < bit_count <= min(len(bits) * 8, _MASK):
            raise ValueError(f"a Bloom filter of {bit_count} bits does not fit its {len(bits)} bytes")
        self.bits = bits
        self.bit_count = bit_count

    def may_contain(self, key: bytes) -> bool:
        """False: the key was never added. True: it was, or (about 1%) it was not."""
        bits = self.bits
        count = self.bit_count
        probe = _crc32c(key)
        step = _crc32(key) | 1
        for _ in range(PROBE_COUNT):
            bit = ((probe & _MASK) * count) >> 32
            if not bits[bit >> 3] >> (bit & 7) & 1:
                return False
            probe += step
        return True


def column_key(row: bytes, qualifier: bytes) -> bytes:
    """The key of one column in a ROWCOL filter."""
    return row + b"\0" + qualifier


def hash_keys(keys: list[bytes]) -> Hashes:
    """Both hashes of every key in one word: crc32c << 32 | crc32."""
    count = len(keys)
    high = np.fromiter(map(_crc32c, keys), np.uint64, count)
    low = np.fromiter(map(_crc32, keys), np.uint64, count)
    return (high << np.uint64(32)) | low


def build_filter(hashes: Hashes) -> BloomFilter:
    """A filter of ``BITS_PER_KEY`` bits per hash."""
    bit_count = max(64, len(hashes) * BITS_PER_KEY)
    probe = hashes >> np.uint64(32)
    step = (hashes & np.uint64(_MASK)) | np.uint64(1)
    flags = np.zeros(-(-bit_count // 8) * 8, np.uint8)
    for _ in range(PROBE_COUNT):
        flags[((probe & np.uint64(_MASK)) * np.uint64(bit_count)) >> np.uint64(32)] = 1
        probe = probe + step
    return BloomFilter(np.packbits(flags, bitorder="little").tobytes(), bit_count)


class BloomBuilder:
    """Collects keys in row order and builds filters, each over a range of rows.

    A new filter begins only where a row does, so that every key of a row is in one filter.
    """

    def __init__(self) -> None:
        self._hashes: list[Hashes] = []
        self._key_count = 0
        self._first_row = b""
        self._done: list[tuple[bytes, BloomFilter]] = []

    def add(self, rows: list[bytes], columns: list[bytes], *, continues: bool = False) -> None:
        """Add distinct rows, ascending and after every row added before, and keys of their columns.

        Args:
            columns: ``column_key`` of columns of these rows.
            continues: the first columns belong to the last row of the call before.
        """
        if self._key_count >= MAX_KEYS_PER_FILTER and not continues:
            self._seal()
        if not self._key_count and rows:
            self._first_row = rows[0]
        for keys in (rows, columns):
            if keys:
                self._hashes.append(hash_keys(keys))
                self._key_count += len(keys)

    def _seal(self) -> None:
        self._done.append((self._first_row, build_filter(np.concatenate(self._hashes))))
        self._hashes.clear()
        self._key_count = 0

    def finish(self) -> list[tuple[bytes, BloomFilter]]:
        """``(first row, filter)`` ascending; a filter covers the rows up to the next one's first."""
        if self._key_count:
            self._seal()
        return self._done
