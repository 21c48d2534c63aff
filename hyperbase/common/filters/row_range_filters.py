"""Filters that choose rows by several patterns or ranges of keys and jump from one to the next. API only."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hyperbase.common.argument_checks import check_items
from hyperbase.common.errors import IllegalArgumentException, WrongTypeException, shown
from hyperbase.common.filters.base import Filter, Hint, ReturnCode, boolean, call_string, quote
from hyperbase.common.model import KeyValue, prefix_stop, to_bytes


class FuzzyRowFilter(Filter):
    """Rows that match one of several keys with wildcards.

    A row matches when each of its bytes at a fixed place equals the key's; bytes beyond the key are free,
    and a row shorter than the key is tested as far as it goes.

    Args:
        fuzzy_keys: pairs (key, mask) of equal length; mask byte 0 fixes the key's byte, 1 leaves it free.

    Raises:
        IllegalArgumentException: no pair, unequal lengths, or another mask byte.
    """

    __slots__ = ("_done", "_drop", "_keys", "fuzzy_keys")

    hinting = True

    def __init__(self, fuzzy_keys: Sequence[tuple[bytes | str, bytes | str]]) -> None:
        super().__init__()
        given = list(check_items(fuzzy_keys, "fuzzy_keys"))
        if not given:
            raise IllegalArgumentException("a fuzzy row filter needs at least one pair (key, mask)")
        for pair in given:
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise WrongTypeException(f"a fuzzy key is a pair (key, mask), not {shown(pair)}")
        pairs = [(to_bytes(key, "fuzzy key"), to_bytes(mask, "mask")) for key, mask in given]
        for key, mask in pairs:
            if len(key) != len(mask):
                raise IllegalArgumentException(
                    f"Fuzzy pair lengths do not match: {shown(key)}, {shown(mask)}"
                )
            if mask.strip(b"\0\1"):
                raise IllegalArgumentException(
                    f"a mask consists of bytes 0 (fixed) and 1 (any), not {shown(mask)}"
                )
        self.fuzzy_keys = pairs
        self._keys = [
            (key, tuple(place for place, free in enumerate(mask) if not free)) for key, mask in pairs
        ]
        self._drop = False
        self._done = False

    def reset(self) -> None:
        self._drop = False

    def filter_all_remaining(self) -> bool:
        return self._done

    def filter_cell(self, cell: KeyValue) -> ReturnCode:
        row = cell.row
        if any(_first_mismatch(row, key, fixed) is None for key, fixed in self._keys):
            return ReturnCode.INCLUDE
        self._drop = True
        return ReturnCode.SEEK_NEXT_USING_HINT

    def filter_row(self) -> bool:
        return self._drop

    def next_hint(self, cell: KeyValue) -> Hint | None:
        """The start of the next row that can match; without one the scan is over."""
        next_row = _row_before if self.reversed else _row_after
        candidates = [next_row(cell.row, key, fixed) for key, fixed in self._keys]
        rows = [row for row in candidates if row is not None]
        if not rows:
            self._done = True
            return None
        return Hint(max(rows) if self.reversed else min(rows))

    def filter_string(self) -> bytes:
        return call_string(self, (b"(%s, %s)" % (quote(key), quote(mask)) for key, mask in self.fuzzy_keys))


def _first_mismatch(row: bytes, key: bytes, fixed: tuple[int, ...]) -> int | None:
    """The first fixed place where ``row`` differs from ``key``; ``None`` when it matches."""
    length = len(row)
    for place in fixed:
        if place >= length:
            return None
        if row[place] != key[place]:
            return place
    return None


def _row_after(row: bytes, key: bytes, fixed: tuple[int, ...]) -> bytes | None:
    """The smallest key above ``row`` that can match; ``None`` when there is none."""
    place = _first_mismatch(row, key, fixed)
    if place is None:
        return row
    if row[place] < key[place]:
        return row[:place] + key[place : place + 1]
    # The fixed byte is behind us: raise the last free byte before it that can be raised.
    for free in range(place - 1, -1, -1):
        if free not in fixed and row[free] < 255:
            return row[:free] + bytes([row[free] + 1])
    return None


def _row_before(row: bytes, key: bytes, fixed: tuple[int, ...]) -> bytes | None:
    """A key at or above the greatest key below ``row`` that can match; ``None`` when there is none."""
    place = _first_mismatch(row, key, fixed)
    if place is None:
        return row
    if row[place] > key[place]:
        # Everything that starts with the fixed byte comes before this.
        return row[:place] + bytes([key[place] + 1])
    return row[:place] or None


@dataclass(frozen=True, slots=True)
class RowRange:
    """Row keys from ``start_row`` to ``stop_row``; ``b""`` is unbounded."""

    start_row: bytes
    start_row_inclusive: bool = True
    stop_row: bytes = b""
    stop_row_inclusive: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "start_row", to_bytes(self.start_row, "start row"))
        object.__setattr__(self, "stop_row", to_bytes(self.stop_row, "stop row"))

    def is_valid(self) -> bool:
        """Whether the range can hold a row key."""
        if not self.start_row or not self.stop_row or self.start_row < self.stop_row:
            return True
        return self.start_row == self.stop_row and self.stop_row_inclusive

    def contains(self, row: bytes) -> bool:
        """Whether ``row`` lies inside."""
        return not self.is_above(row) and not self.is_below(row)

    def is_above(self, row: bytes) -> bool:
        """Whether the whole range comes after ``row``."""
        return row < self.start_row or (row == self.start_row and not self.start_row_inclusive)

    def is_below(self, row: bytes) -> bool:
        """Whether the whole range comes before ``row``."""
        if not self.stop_row or row < self.stop_row:
            return False
        return row > self.stop_row or not self.stop_row_inclusive

    @classmethod
    def of_prefix(cls, prefix: bytes) -> RowRange:
        """The rows that start with ``prefix``."""
        return cls(prefix, True, prefix_stop(prefix), False)


class MultiRowRangeFilter(Filter):
    """Rows inside one of several ranges, jumping over what lies between; the ranges are sorted and merged.

    Args:
        ranges: ``RowRange``, or tuples of its four fields.

    Raises:
        IllegalArgumentException: no range, or a range that cannot hold a row.
    """

    __slots__ = ("_code", "_done", "_hint", "_range", "_starts", "ranges")

    hinting = True

    def __init__(self, ranges: Iterable[RowRange | tuple[bytes, bool, bytes, bool]]) -> None:
        super().__init__()
        self.ranges = _sort_and_merge([_row_range(one) for one in check_items(ranges, "ranges")])
        self._starts = [r.start_row for r in self.ranges]
        self._range: RowRange | None = None
        self._code = ReturnCode.INCLUDE
        self._hint: Hint | None = None
        self._done = False

    @classmethod
    def of_prefixes(cls, prefixes: Iterable[bytes]) -> MultiRowRangeFilter:
        """Rows that start with one of ``prefixes``."""
        return cls(RowRange.of_prefix(prefix) for prefix in prefixes)

    def filter_all_remaining(self) -> bool:
        return self._done

    def filter_row_key(self, row: bytes) -> bool:
        if self._done:
            return True
        if self._range is None or not self._range.contains(row):
            self._range = self._range_from(row)
        if self._range is None:
            self._done = True
            self._code = ReturnCode.NEXT_ROW
        elif self._range.contains(row):
            self._code = ReturnCode.INCLUDE
        else:
            edge = self._range.stop_row if self.reversed else self._range.start_row
            self._hint = Hint(edge)
            self._code = ReturnCode.NEXT_ROW if edge == row else ReturnCode.SEEK_NEXT_USING_HINT
        return False

    def _range_from(self, row: bytes) -> RowRange | None:
        """The first range, in the order of the scan, that does not end before ``row``."""
        index = bisect.bisect_right(self._starts, row)  # ranges before it start at or before the row
        if self.reversed:
            while index and self.ranges[index - 1].is_above(row):
                index -= 1
            return self.ranges[index - 1] if index else None
        index = max(index - 1, 0)
        while index < len(self.ranges) and self.ranges[index].is_below(row):
            index += 1
        return self.ranges[index] if index < len(self.ranges) else None

    def filter_cell(self, cell: KeyValue) -> ReturnCode:
        return self._code

    def next_hint(self, cell: KeyValue) -> Hint | None:
        return self._hint

    def filter_string(self) -> bytes:
        return call_string(
            self,
            (
                b"(%s, %s, %s, %s)"
                % (
                    quote(r.start_row),
                    boolean(r.start_row_inclusive),
                    quote(r.stop_row),
                    boolean(r.stop_row_inclusive),
                )
                for r in self.ranges
            ),
        )


def _row_range(given: object) -> RowRange:
    if isinstance(given, RowRange):
        return given
    if not isinstance(given, (tuple, list)) or not 1 <= len(given) <= 4:
        raise WrongTypeException(f"a range is a RowRange or a tuple of its fields, not {shown(given)}")
    return RowRange(*given)


def _sort_and_merge(ranges: list[RowRange]) -> list[RowRange]:
    """Ranges in order of their start, overlapping and touching ones joined."""
    if not ranges:
        raise IllegalArgumentException("No ranges found.")
    invalid = [r for r in ranges if not r.is_valid()]
    if invalid:
        listed = "".join(
            f" Invalid range: start row => {shown(r.start_row)}, stop row => {shown(r.stop_row)}"
            for r in invalid
        )
        raise IllegalArgumentException(f"{len(invalid)} invaild ranges.{listed}")
    merged: list[RowRange] = []
    for r in sorted(ranges, key=lambda r: (r.start_row, not r.start_row_inclusive)):
        last = merged[-1] if merged else None
        if last is None or not _touches(last, r):
            merged.append(r)
        elif _ends_before(last, r):
            merged[-1] = RowRange(last.start_row, last.start_row_inclusive, r.stop_row, r.stop_row_inclusive)
    return merged


def _touches(first: RowRange, second: RowRange) -> bool:
    """Whether nothing lies between two ranges, ``first`` starting no later."""
    if not first.stop_row or second.start_row < first.stop_row:
        return True
    return second.start_row == first.stop_row and (first.stop_row_inclusive or second.start_row_inclusive)


def _ends_before(first: RowRange, second: RowRange) -> bool:
    if not first.stop_row:
        return False
    if not second.stop_row or first.stop_row < second.stop_row:
        return True
    return first.stop_row == second.stop_row and second.stop_row_inclusive and not first.stop_row_inclusive
