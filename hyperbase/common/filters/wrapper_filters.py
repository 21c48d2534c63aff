"""Filters around one other filter: ``SKIP F`` and ``WHILE F``."""

from __future__ import annotations

from hyperbase.common.argument_checks import check_kind
from hyperbase.common.filters.base import Filter, ReturnCode
from hyperbase.common.model import KeyValue


class _WrapperFilter(Filter):
    """What both share. Seek hints of the inner filter are not used: such an answer is already a reject."""

    __slots__ = ("filter",)

    def __init__(self, filter: Filter) -> None:
        super().__init__()
        self.filter = check_kind(filter, Filter)
        self.reversed = filter.reversed

    def reset(self) -> None:
        self.filter.reset()

    def transform_value(self, cell: KeyValue) -> bytes:
        return self.filter.transform_value(cell)

    def has_filter_row(self) -> bool:
        return True

    def set_reversed(self, flag: bool) -> None:
        super().set_reversed(flag)
        self.filter.set_reversed(flag)


class SkipFilter(_WrapperFilter):
    """``SKIP F``: a row is dropped when F answers anything but INCLUDE for one of its cells.

    F never sees the row key: a RowFilter inside rejects nothing, a PrefixFilter inside rejects every row.
    """

    __slots__ = ("_drop",)

    def __init__(self, filter: Filter) -> None:
        super().__init__(filter)
        self._drop = False

    def reset(self) -> None:
        super().reset()
        self._drop = False

    def filter_cell(self, cell: KeyValue) -> ReturnCode:
        code = self.filter.filter_cell(cell)
        if code is not ReturnCode.INCLUDE:
            self._drop = True
        return code

    def filter_row(self) -> bool:
        return self._drop

    def filter_string(self) -> bytes:
        return b"SKIP " + self.filter.filter_string()


class WhileMatchFilter(_WrapperFilter):
    """``WHILE F``: the scan ends as soon as F rejects a row key, a cell or a row.

    Cells of the row at hand that passed before the reject are returned.
    """

    __slots__ = ("_over",)

    def __init__(self, filter: Filter) -> None:
        super().__init__(filter)
        self._over = False

    def filter_all_remaining(self) -> bool:
        return self._over or self.filter.filter_all_remaining()

    def filter_row_key(self, row: bytes) -> bool:
        if self.filter_all_remaining():
            return True
        drop = self.filter.filter_row_key(row)
        self._over = self._over or drop
        return drop

    def filter_cell(self, cell: KeyValue) -> ReturnCode:
        code = self.filter.filter_cell(cell)
        if code is not ReturnCode.INCLUDE:
            self._over = True
        return code

    def filter_row(self) -> bool:
        drop = self.filter.filter_row()
        self._over = self._over or drop
        return drop

    def filter_string(self) -> bytes:
        return b"WHILE " + self.filter.filter_string()
