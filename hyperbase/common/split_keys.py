"""Keys at which a new table is cut into regions: checked, or spread evenly over a range.

n split keys make n + 1 regions. Source: HBase's Admin.createTable and Bytes.split, messages included.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from hyperbase.common.argument_checks import check_integer, check_items
from hyperbase.common.errors import IllegalArgumentException
from hyperbase.common.model import to_bytes
from hyperbase.common.names import to_string_binary

MAX_REGIONS = 100_000  # of a new table; each is a directory and a row of hbase:meta


def check_split_keys(keys: Iterable[bytes | str]) -> list[bytes]:
    """The keys, ascending; they may come in any order.

    Raises:
        IllegalArgumentException: an empty key, or the same key twice.
    """
    ordered = sorted(to_bytes(key, "split key") for key in check_items(keys, "split keys"))
    if ordered and not ordered[0]:
        raise IllegalArgumentException("Empty split key must not be passed in the split keys.")
    for first, second in pairwise(ordered):
        if first == second:
            shown = to_string_binary(first)
            raise IllegalArgumentException(
                f"All split keys must be unique, found duplicate: {shown}, {shown}"
            )
    return ordered


def uniform_split_keys(start: bytes | str, end: bytes | str, region_count: int) -> list[bytes]:
    """``region_count - 1`` keys from ``start`` to ``end``: ``[, start) ... [end, )``, evenly between them.

    Raises:
        IllegalArgumentException: fewer than three regions, or ``start`` not before ``end``.
    """
    low, high = to_bytes(start, "start key"), to_bytes(end, "end key")
    if check_integer(region_count, "region_count", highest=MAX_REGIONS) < 3:
        raise IllegalArgumentException("Must create at least three regions")
    if low >= high:
        raise IllegalArgumentException("Start key must be smaller than end key")
    if region_count == 3:
        return check_split_keys([low, high])
    return check_split_keys(split_range(low, high, region_count - 3))


def split_range(start: bytes, end: bytes, count: int) -> list[bytes]:
    """``start``, ``count`` keys between, ``end``; the keys read as big-endian fractions of equal width.

    A range with fewer values than steps is widened by a zero byte, bounds included, as HBase does.

    Raises:
        IllegalArgumentException: ``end`` is not behind ``start`` once the shorter is padded with zeros.
    """
    width = max(len(start), len(end))
    low = int.from_bytes(start.ljust(width, b"\0"), "big")
    high = int.from_bytes(end.ljust(width, b"\0"), "big")
    if low >= high:
        raise IllegalArgumentException("b <= a")
    while high - low < count + 1:
        width, low, high = width + 1, low << 8, high << 8
        start, end = start.ljust(width, b"\0"), end.ljust(width, b"\0")
    step = (high - low) // (count + 1)
    between = [(low + step * index).to_bytes(width, "big") for index in range(1, count + 1)]
    return [start, *between, end]
