"""Filters that choose rows by their key, their number or by chance."""

from __future__ import annotations

import random

from hyperbase.common.argument_checks import check_integer
from hyperbase.common.errors import IllegalArgumentException, WrongTypeException, shown
from hyperbase.common.filters.base import Filter, ReturnCode, call_string, quote
from hyperbase.common.model import KeyValue, to_bytes


class PrefixFilter(Filter):
    """Rows whose key starts with ``prefix``; the scan ends after them.

    It does not seek: set the scan's start row for speed. An empty prefix matches every row.
    """

    __slots__ = ("_drop", "_passed", "prefix")

    def __init__(self, prefix: bytes | str) -> None:
        super().__init__()
        self.prefix = to_bytes(prefix, "prefix")
        self._passed = False
        self._drop = True

    def reset(self) -> None:
        self._drop = True

    def filter_row_key(self, row: bytes) -> bool:
        prefix = self.prefix
        if self._passed or len(row) < len(prefix):
            return True
        head = row[: len(prefix)]
        if head != prefix:
            self._passed = (head < prefix) if self.reversed else (head > prefix)
        self._drop = head != prefix
        return self._drop

    def filter_cell(self, cell: KeyValue) -> ReturnCode:
        return ReturnCode.NEXT_ROW if self._drop else ReturnCode.INCLUDE

    def filter_row(self) -> bool:
        return self._drop

    def filter_all_remaining(self) -> bool:
        return self._passed

    def filter_string(self) -> bytes:
        return call_string(self, (quote(self.prefix),))


class InclusiveStopFilter(Filter):
    """Rows up to and including ``stop_row`` (down to it in a reversed scan)."""

    __slots__ = ("_done", "stop_row")

    def __init__(self, stop_row: bytes | str) -> None:
        super().__init__()
        self.stop_row = to_bytes(stop_row, "stop_row")
        self._done = False

    def filter_row_key(self, row: bytes) -> bool:
        if not self._done:
            self._done = (row < self.stop_row) if self.reversed else (row > self.stop_row)
        return self._done

    def filter_cell(self, cell: KeyValue) -> ReturnCode:
        return ReturnCode.NEXT_ROW if self._done else ReturnCode.INCLUDE

    def filter_all_remaining(self) -> bool:
        return self._done

    def filter_string(self) -> bytes:
        return call_string(self, (quote(self.stop_row),))


class PageFilter(Filter):
    """The first ``page_size`` rows of each region: a scan over several regions may return more."""

    __slots__ = ("_accepted", "page_size")

    def __init__(self, page_size: int) -> None:
        super().__init__()
        if check_integer(page_size, "page_size") < 0:
            raise IllegalArgumentException(f"must be positive {page_size}")
        self.page_size = page_size  # rows
        self._accepted = 0

    def filter_all_remaining(self) -> bool:
        return self._accepted >= self.page_size

    def has_filter_row(self) -> bool:
        return True

    def filter_row(self) -> bool:
        self._accepted += 1
        return self._accepted > self.page_size

    def filter_string(self) -> bytes:
        return call_string(self, (b"%d" % self.page_size,))


class RandomRowFilter(Filter):
    """Each row with probability ``chance``: none below 0, all above 1. API only.

    Args:
        chance: 0.0 to 1.0.
        source: where randomness comes from; pass a seeded ``random.Random`` to repeat a choice.
    """

    __slots__ = ("_drop", "chance", "source")

    def __init__(self, chance: float, source: random.Random | None = None) -> None:
        super().__init__()
        if isinstance(chance, bool) or not isinstance(chance, (int, float)) or chance != chance:
            raise WrongTypeException(f"chance must be a number, not {shown(chance)}")
        self.chance = float(min(max(chance, -1), 2))
        self.source = source or random.Random()
        self._drop = False

    def reset(self) -> None:
        self._drop = False

    def filter_row_key(self, row: bytes) -> bool:
        if self.chance < 0:
            self._drop = True
        elif self.chance > 1:
            self._drop = False
        else:
            self._drop = self.source.random() >= self.chance
        return self._drop

    def filter_cell(self, cell: KeyValue) -> ReturnCode:
        return ReturnCode.NEXT_ROW if self._drop else ReturnCode.INCLUDE

    def filter_row(self) -> bool:
        return self._drop

    def filter_string(self) -> bytes:
        return call_string(self, (repr(self.chance).encode(),))
