"""Filters that keep what compares well: row, family, qualifier, value, or cells at a column's timestamps.

All keep cells where STORED op GIVEN holds. Regular expressions and substrings answer only "equal" or
"not equal"; the filter language therefore refuses them with other operators.
"""

from __future__ import annotations

from hyperbase.common.filters.base import Filter, ReturnCode, boolean, call_string, quote
from hyperbase.common.filters.comparators import Comparator, as_comparator
from hyperbase.common.model import CompareOperator, KeyValue, to_bytes


class CompareFilter(Filter):
    """Base of the filters that compare one part of a cell.

    Args:
        op: ``"<"`` ``"<="`` ``"="`` ``"!="`` ``">="`` ``">"`` or the operator; NO_OP keeps nothing.
        comparator: what to compare with; bytes or text compare as ``binary:``.
    """

    __slots__ = ("_keeps", "comparator", "op")

    def __init__(self, op: CompareOperator | str, comparator: Comparator | bytes | str) -> None:
        super().__init__()
        self.op = CompareOperator.parse(op)
        self.comparator = as_comparator(comparator)
        self._keeps = self.comparator.test(self.op)

    def filter_string(self) -> bytes:
        return call_string(self, (self.op.value.encode(), self.comparator.filter_string()))


class RowFilter(CompareFilter):
    """Rows whose key compares well; reads on to the end of the scan."""

    __slots__ = ("_drop",)

    def __init__(self, op: CompareOperator | str, comparator: Comparator | bytes | str) -> None:
        super().__init__(op, comparator)
        self._drop = False

    def reset(self) -> None:
        self._drop = False

    def filter_row_key(self, row: bytes) -> bool:
        self._drop = not self._keeps(row)
        return self._drop

    def filter_cell(self, cell: KeyValue) -> ReturnCode:
        return ReturnCode.NEXT_ROW if self._drop else ReturnCode.INCLUDE

    def filter_row(self) -> bool:
        return self._drop


class FamilyFilter(CompareFilter):
    """Cells whose family compares well."""

    __slots__ = ()

    def filter_cell(self, cell: KeyValue) -> ReturnCode:
        return ReturnCode.INCLUDE if self._keeps(cell.family) else ReturnCode.NEXT_ROW


class QualifierFilter(CompareFilter):
    """Cells whose qualifier compares well."""

    __slots__ = ()

    def filter_cell(self, cell: KeyValue) -> ReturnCode:
        return ReturnCode.INCLUDE if self._keeps(cell.qualifier) else ReturnCode.SKIP


class ValueFilter(CompareFilter):
    """Cells whose value compares well; a row is gone only when none of its cells is left."""

    __slots__ = ()

    def filter_cell(self, cell: KeyValue) -> ReturnCode:
        return ReturnCode.INCLUDE if self._keeps(cell.value) else ReturnCode.SKIP


class DependentColumnFilter(Filter):
    """Cells written at the same timestamp as a (matching) version of the reference column of their row.

    A row without such a version is dropped. Whole rows are needed: no batch.

    Args:
        family, qualifier: the reference column, which must be among the columns read.
        drop_dependent_column: leave the reference column itself out.
        op, comparator: when given, only versions whose value compares well count.
    """

    __slots__ = ("_keeps", "_stamps", "comparator", "drop_dependent_column", "family", "op", "qualifier")

    def __init__(
        self,
        family: bytes | str,
        qualifier: bytes | str,
        drop_dependent_column: bool = False,
        op: CompareOperator | str = CompareOperator.NO_OP,
        comparator: Comparator | bytes | str | None = None,
    ) -> None:
        super().__init__()
        self.family = to_bytes(family, "family")
        self.qualifier = to_bytes(qualifier, "qualifier")
        self.drop_dependent_column = bool(drop_dependent_column)
        self.op = CompareOperator.parse(op)
        self.comparator = None if comparator is None else as_comparator(comparator)
        self._keeps = None if self.comparator is None else self.comparator.test(self.op)
        self._stamps: set[int] = set()

    def reset(self) -> None:
        self._stamps.clear()

    def filter_cell(self, cell: KeyValue) -> ReturnCode:
        if cell.qualifier != self.qualifier or cell.family != self.family:
            return ReturnCode.INCLUDE  # for now; filter_row_cells decides when all stamps are known
        if self._keeps is not None and not self._keeps(cell.value):
            return ReturnCode.SKIP
        self._stamps.add(cell.timestamp)
        return ReturnCode.SKIP if self.drop_dependent_column else ReturnCode.INCLUDE

    def filter_row_cells(self, cells: list[KeyValue]) -> list[KeyValue]:
        return [cell for cell in cells if cell.timestamp in self._stamps]

    def has_filter_row(self) -> bool:
        return True

    def filter_string(self) -> bytes:
        arguments = [quote(self.family), quote(self.qualifier)]
        if self.drop_dependent_column or self.comparator is not None:
            arguments.append(boolean(self.drop_dependent_column))
        if self.comparator is not None:
            arguments += [self.op.value.encode(), self.comparator.filter_string()]
        return call_string(self, arguments)
