"""Filters that choose columns of a row: by qualifier, by number, or by timestamp; and keys without values."""

from __future__ import annotations

import bisect
import struct
from collections.abc import Iterable

from hyperbase.common.argument_checks import check_integer, check_items
from hyperbase.common.errors import IllegalArgumentException, shown
from hyperbase.common.filters.base import Filter, Hint, ReturnCode, boolean, call_string, quote
from hyperbase.common.model import MAX_TIMESTAMP, KeyValue, to_bytes

_LENGTH = struct.Struct(">i")


class KeyOnlyFilter(Filter):
    """Every cell, its value emptied, or replaced by the value's length (4 bytes, big-endian)."""

    __slots__ = ("length_as_value",)

    def __init__(self, length_as_value: bool = False) -> None:
        super().__init__()
        self.length_as_value = bool(length_as_value)

    def transform_value(self, cell: KeyValue) -> bytes:
        return _LENGTH.pack(len(cell.value)) if self.length_as_value else b""

    def filter_string(self) -> bytes:
        return call_string(self, (b"true",) if self.length_as_value else ())


class FirstKeyOnlyFilter(Filter):
    """The first cell of each row: the cheapest way to count rows."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        super().__init__()
        self._found = False

    def reset(self) -> None:
        self._found = False

    def filter_cell(self, cell: KeyValue) -> ReturnCode:
        if self._found:
            return ReturnCode.NEXT_ROW
        self._found = True
        return ReturnCode.INCLUDE


class FirstKeyValueMatchingQualifiersFilter(Filter):
    """The cells of each row up to and including the first with one of ``qualifiers``. API only."""

    __slots__ = ("_found", "qualifiers")

    def __init__(self, qualifiers: Iterable[bytes | str]) -> None:
        super().__init__()
        self.qualifiers = frozenset(
            to_bytes(qualifier, "qualifier") for qualifier in check_items(qualifiers, "qualifiers")
        )
        self._found = False

    def reset(self) -> None:
        self._found = False

    def filter_cell(self, cell: KeyValue) -> ReturnCode:
        if self._found:
            return ReturnCode.NEXT_ROW
        self._found = cell.qualifier in self.qualifiers
        return ReturnCode.INCLUDE

    def filter_string(self) -> bytes:
        return call_string(self, map(quote, sorted(self.qualifiers)))


class ColumnPrefixFilter(Filter):
    """Columns whose qualifier starts with ``prefix``, reached by a seek."""

    __slots__ = ("prefix",)

    hinting = True

    def __init__(self, prefix: bytes | str) -> None:
        super().__init__()
        self.prefix = to_bytes(prefix, "prefix")

    def filter_cell(self, cell: KeyValue) -> ReturnCode:
        if cell.qualifier.startswith(self.prefix):
            return ReturnCode.INCLUDE
        if cell.qualifier < self.prefix:
            return ReturnCode.SEEK_NEXT_USING_HINT
        return ReturnCode.NEXT_ROW

    def next_hint(self, cell: KeyValue) -> Hint | None:
        return Hint(cell.row, cell.family, self.prefix)

    def filter_string(self) -> bytes:
        return call_string(self, (quote(self.prefix),))


class MultipleColumnPrefixFilter(Filter):
    """Columns whose qualifier starts with one of ``prefixes``, reached by seeks; no prefix passes all.

    Raises IllegalArgumentException: a prefix is given twice.
    """

    __slots__ = ("_hint", "_search", "prefixes")

    hinting = True

    def __init__(self, prefixes: Iterable[bytes | str]) -> None:
        super().__init__()
        given = [to_bytes(prefix, "prefix") for prefix in check_items(prefixes, "prefixes")]
        self.prefixes = sorted(given)
        if len(set(given)) != len(given):
            raise IllegalArgumentException(f"prefixes must be distinct: {shown(given)}")
        # A prefix that starts with another one adds nothing, and would hide the shorter from the search.
        self._search: list[bytes] = []
        for prefix in self.prefixes:
            if not self._search or not prefix.startswith(self._search[-1]):
                self._search.append(prefix)
        self._hint = b""

    def filter_cell(self, cell: KeyValue) -> ReturnCode:
        search = self._search
        if not search:
            return ReturnCode.INCLUDE
        index = bisect.bisect_right(search, cell.qualifier)
        if index and cell.qualifier.startswith(search[index - 1]):
            return ReturnCode.INCLUDE
        if index == len(search):
            return ReturnCode.NEXT_ROW
        self._hint = search[index]
        return ReturnCode.SEEK_NEXT_USING_HINT

    def next_hint(self, cell: KeyValue) -> Hint | None:
        return Hint(cell.row, cell.family, self._hint)

    def filter_string(self) -> bytes:
        return call_string(self, map(quote, self.prefixes))


class ColumnRangeFilter(Filter):
    """Columns whose qualifier lies between two bounds, reached by a seek.

    Args:
        min_column, max_column: ``None`` is unbounded (in a filter string ``''`` is).
        min_column_inclusive, max_column_inclusive: whether the bounds themselves belong to it.
    """

    __slots__ = ("max_column", "max_column_inclusive", "min_column", "min_column_inclusive")

    hinting = True

    def __init__(
        self,
        min_column: bytes | str | None,
        min_column_inclusive: bool = True,
        max_column: bytes | str | None = None,
        max_column_inclusive: bool = False,
    ) -> None:
        super().__init__()
        self.min_column = None if min_column is None else to_bytes(min_column, "min_column")
        self.min_column_inclusive = bool(min_column_inclusive)
        self.max_column = None if max_column is None else to_bytes(max_column, "max_column")
        self.max_column_inclusive = bool(max_column_inclusive)

    def filter_cell(self, cell: KeyValue) -> ReturnCode:
        qualifier, low, high = cell.qualifier, self.min_column, self.max_column
        if low is not None:
            if qualifier < low:
                return ReturnCode.SEEK_NEXT_USING_HINT
            if qualifier == low and not self.min_column_inclusive:
                return ReturnCode.NEXT_COL
        if high is None or qualifier < high or (qualifier == high and self.max_column_inclusive):
            return ReturnCode.INCLUDE
        return ReturnCode.NEXT_ROW

    def next_hint(self, cell: KeyValue) -> Hint | None:
        return Hint(cell.row, cell.family, self.min_column or b"")

    def filter_string(self) -> bytes:
        return call_string(
            self,
            (
                quote(self.min_column or b""),
                boolean(self.min_column_inclusive),
                quote(self.max_column or b""),
                boolean(self.max_column_inclusive),
            ),
        )


class ColumnCountGetFilter(Filter):
    """The first ``limit`` columns of a row, newest version each; for Gets.

    It ends the query when the row has more columns, so a Scan stops there.
    """

    __slots__ = ("_count", "limit")

    def __init__(self, limit: int) -> None:
        super().__init__()
        if check_integer(limit, "limit") < 0:
            raise IllegalArgumentException(f"limit be positive {limit}")
        self.limit = limit  # columns
        self._count = 0

    def reset(self) -> None:
        self._count = 0

    def filter_row_key(self, row: bytes) -> bool:
        return self.filter_all_remaining()

    def filter_all_remaining(self) -> bool:
        return self._count > self.limit

    def filter_cell(self, cell: KeyValue) -> ReturnCode:
        self._count += 1
        return ReturnCode.NEXT_COL if self._count > self.limit else ReturnCode.INCLUDE_AND_NEXT_COL

    def filter_string(self) -> bytes:
        return call_string(self, (b"%d" % self.limit,))


class ColumnPaginationFilter(Filter):
    """Columns ``offset`` to ``offset + limit`` of each row, families in one chain, newest version each.

    Args:
        limit: columns.
        offset: columns to leave out; or (API only) the qualifier to begin at, in the first family that
            reaches it.
    """

    __slots__ = ("_count", "limit", "offset")

    def __init__(self, limit: int, offset: int | bytes = 0) -> None:
        super().__init__()
        if check_integer(limit, "limit") < 0:
            raise IllegalArgumentException(f"limit must be positive {limit}")
        if isinstance(offset, int) and check_integer(offset, "offset") < 0:
            raise IllegalArgumentException(f"offset must be positive {offset}")
        self.limit = limit
        self.offset = offset if isinstance(offset, int) else to_bytes(offset, "offset")
        self._count = 0

    def reset(self) -> None:
        self._count = 0

    def filter_cell(self, cell: KeyValue) -> ReturnCode:
        if isinstance(self.offset, int):
            if self._count >= self.offset + self.limit:
                return ReturnCode.NEXT_ROW
            self._count += 1
            return ReturnCode.NEXT_COL if self._count <= self.offset else ReturnCode.INCLUDE_AND_NEXT_COL
        if self._count >= self.limit:
            return ReturnCode.NEXT_ROW
        if self._count == 0 and cell.qualifier < self.offset:
            return ReturnCode.SEEK_NEXT_USING_HINT
        self._count += 1
        return ReturnCode.INCLUDE_AND_NEXT_COL

    def next_hint(self, cell: KeyValue) -> Hint | None:
        return None if isinstance(self.offset, int) else Hint(cell.row, cell.family, self.offset)

    def filter_string(self) -> bytes:
        offset = b"%d" % self.offset if isinstance(self.offset, int) else quote(self.offset)
        return call_string(self, (b"%d" % self.limit, offset))


class TimestampsFilter(Filter):
    """Cells whose timestamp is one of ``timestamps``; none given, none pass.

    Args:
        timestamps: ms, not negative.
        can_hint: seek from one wanted timestamp to the next. API only; in HBase it may jump over delete
            markers, here it does not.
    """

    __slots__ = ("_least", "_wanted", "can_hint", "timestamps")

    def __init__(self, timestamps: Iterable[int], can_hint: bool = False) -> None:
        super().__init__()
        self._wanted = frozenset(
            check_integer(stamp, "timestamp") for stamp in check_items(timestamps, "timestamps")
        )
        self.timestamps = sorted(self._wanted)
        if self.timestamps and self.timestamps[0] < 0:
            raise IllegalArgumentException(f"must be positive {self.timestamps[0]}")
        self.can_hint = bool(can_hint)
        self._least = self.timestamps[0] if self.timestamps else MAX_TIMESTAMP

    def filter_cell(self, cell: KeyValue) -> ReturnCode:
        if cell.timestamp in self._wanted:
            return ReturnCode.INCLUDE
        if cell.timestamp < self._least:
            return ReturnCode.NEXT_COL
        return ReturnCode.SEEK_NEXT_USING_HINT if self.can_hint else ReturnCode.SKIP

    def next_hint(self, cell: KeyValue) -> Hint | None:
        index = bisect.bisect_left(self.timestamps, cell.timestamp)
        if not self.can_hint or not index:
            return None
        return Hint(cell.row, cell.family, cell.qualifier, self.timestamps[index - 1])

    def filter_string(self) -> bytes:
        arguments = [b"%d" % stamp for stamp in self.timestamps]
        return call_string(self, [*arguments, b"canHint"] if self.can_hint else arguments)
