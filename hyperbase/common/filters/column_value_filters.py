"""Filters that look at the value of one named column, and decide on the row or on that column.

The tested column must be among the columns a query reads: a column that is not read is a missing one.
"""

from __future__ import annotations

from hyperbase.common.errors import IllegalArgumentException
from hyperbase.common.filters.base import Filter, ReturnCode, boolean, call_string, quote
from hyperbase.common.filters.comparators import Comparator, as_comparator
from hyperbase.common.model import CompareOperator, KeyValue, to_bytes


class SingleColumnValueFilter(Filter):
    """Whole rows whose value in one column compares well; a row lacking the column passes by default.

    Args:
        family, qualifier: the column to test.
        op, comparator: STORED op GIVEN; bytes or text compare as ``binary:``.
        filter_if_missing: drop rows that lack the column.
        latest_version_only: test the newest version only; else any version may match.
    """

    __slots__ = (
        "_found",
        "_keeps",
        "_matched",
        "comparator",
        "family",
        "filter_if_missing",
        "latest_version_only",
        "op",
        "qualifier",
    )

    def __init__(
        self,
        family: bytes | str,
        qualifier: bytes | str,
        op: CompareOperator | str,
        comparator: Comparator | bytes | str,
        filter_if_missing: bool = False,
        latest_version_only: bool = True,
    ) -> None:
        super().__init__()
        self.family = to_bytes(family, "family")
        self.qualifier = to_bytes(qualifier, "qualifier")
        self.op = CompareOperator.parse(op)
        if self.op is CompareOperator.NO_OP:
            raise IllegalArgumentException("Unknown Compare op NO_OP: a column filter needs a comparison")
        self.comparator = as_comparator(comparator)
        self._keeps = self.comparator.test(self.op)
        self.filter_if_missing = bool(filter_if_missing)
        self.latest_version_only = bool(latest_version_only)
        self._found = False
        self._matched = False

    def reset(self) -> None:
        self._found = self._matched = False

    def filter_cell(self, cell: KeyValue) -> ReturnCode:
        if self._matched:
            return ReturnCode.INCLUDE
        if self._found and self.latest_version_only:
            return ReturnCode.NEXT_ROW
        if cell.qualifier != self.qualifier or cell.family != self.family:
            return ReturnCode.INCLUDE
        self._found = True
        if self._keeps(cell.value):
            self._matched = True
            return ReturnCode.INCLUDE
        return ReturnCode.NEXT_ROW if self.latest_version_only else ReturnCode.INCLUDE

    def has_filter_row(self) -> bool:
        return True

    def filter_row(self) -> bool:
        return not self._matched if self._found else self.filter_if_missing

    def filter_string(self) -> bytes:
        arguments = [
            quote(self.family),
            quote(self.qualifier),
            self.op.value.encode(),
            self.comparator.filter_string(),
        ]
        if self.filter_if_missing or not self.latest_version_only:
            arguments += [boolean(self.filter_if_missing), boolean(self.latest_version_only)]
        return call_string(self, arguments)


class SingleColumnValueExcludeFilter(SingleColumnValueFilter):
    """Decides as SingleColumnValueFilter does and leaves the tested column out of what it returns."""

    __slots__ = ()

    def filter_row_cells(self, cells: list[KeyValue]) -> list[KeyValue]:
        family, qualifier = self.family, self.qualifier
        return [cell for cell in cells if cell.qualifier != qualifier or cell.family != family]


class ColumnValueFilter(Filter):
    """Only the cells of one column whose value compares well; rows without one are gone.

    Args:
        family, qualifier: the column.
        op, comparator: STORED op GIVEN; bytes or text compare as ``binary:``. NO_OP keeps nothing.
    """

    __slots__ = ("_found", "_keeps", "comparator", "family", "op", "qualifier")

    def __init__(
        self,
        family: bytes | str,
        qualifier: bytes | str,
        op: CompareOperator | str,
        comparator: Comparator | bytes | str,
    ) -> None:
        super().__init__()
        self.family = to_bytes(family, "family")
        self.qualifier = to_bytes(qualifier, "qualifier")
        self.op = CompareOperator.parse(op)
        self.comparator = as_comparator(comparator)
        self._keeps = self.comparator.test(self.op)
        self._found = False

    def reset(self) -> None:
        self._found = False

    def filter_cell(self, cell: KeyValue) -> ReturnCode:
        if cell.qualifier != self.qualifier or cell.family != self.family:
            return ReturnCode.NEXT_ROW if self._found else ReturnCode.NEXT_COL
        self._found = True
        return ReturnCode.INCLUDE if self._keeps(cell.value) else ReturnCode.SKIP

    def filter_string(self) -> bytes:
        return call_string(
            self,
            (
                quote(self.family),
                quote(self.qualifier),
                self.op.value.encode(),
                self.comparator.filter_string(),
            ),
        )
