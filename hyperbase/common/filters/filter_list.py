"""A list of filters, all of which (AND) or one of which (OR) must pass.

Each answer has two parts: whether the cell is included, and how far to go from it: to the next cell,
the next column, the next row. AND includes when all do and goes as far as anyone wants; OR includes when
one does and goes only as far as everyone agrees. A seek hint is the farthest of all, but its target is
unknown to the others, so in an OR it counts as "next cell" unless all members seek.

Source: Apache HBase 2.6, FilterListWithAND, FilterListWithOR.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from hyperbase.common.argument_checks import check_items
from hyperbase.common.errors import IllegalArgumentException, WrongTypeException, shown
from hyperbase.common.filters.base import (
    INCLUDE_CODES,
    Filter,
    Hint,
    ReturnCode,
    is_before,
    nearer_hint,
)
from hyperbase.common.model import KeyValue

_SEEK = ReturnCode.SEEK_NEXT_USING_HINT

# (included, steps) of each code; steps: 0 next cell, 1 next column, 2 next row.
_PARTS = {
    ReturnCode.INCLUDE: (True, 0),
    ReturnCode.SKIP: (False, 0),
    ReturnCode.INCLUDE_AND_NEXT_COL: (True, 1),
    ReturnCode.NEXT_COL: (False, 1),
    ReturnCode.INCLUDE_AND_SEEK_NEXT_ROW: (True, 2),
    ReturnCode.NEXT_ROW: (False, 2),
}
_CODES = {parts: code for code, parts in _PARTS.items()}


def _merge_and(first: ReturnCode, second: ReturnCode) -> ReturnCode:
    if first is _SEEK or second is _SEEK:
        return _SEEK
    (first_in, first_step), (second_in, second_step) = _PARTS[first], _PARTS[second]
    return _CODES[first_in and second_in, max(first_step, second_step)]


def _merge_or(first: ReturnCode, second: ReturnCode) -> ReturnCode:
    if first is _SEEK and second is _SEEK:
        return _SEEK
    first_in, first_step = _PARTS.get(first, (False, 0))
    second_in, second_step = _PARTS.get(second, (False, 0))
    return _CODES[first_in or second_in, min(first_step, second_step)]


AND_MERGE = {(a, b): _merge_and(a, b) for a in ReturnCode for b in ReturnCode}
OR_MERGE = {(a, b): _merge_or(a, b) for a in ReturnCode for b in ReturnCode}


class Operator(enum.Enum):
    """How many members must pass."""

    MUST_PASS_ALL = "AND"
    MUST_PASS_ONE = "OR"

    @classmethod
    def parse(cls, operator: Operator | str) -> Operator:
        """Accept the operator itself, ``"AND"``/``"OR"`` or its name."""
        for member in cls:
            if operator is member or (isinstance(operator, str) and operator in (member.value, member.name)):
                return member
        raise IllegalArgumentException(
            f"Invalid operator: {shown(operator)}, use MUST_PASS_ALL or MUST_PASS_ONE"
        )


class FilterList(Filter):
    """Members combined with AND (the default) or OR; lists may hold lists; an empty list passes everything.

    ``FilterList(f, g)``, ``FilterList([f, g])``, ``FilterList(Operator.MUST_PASS_ONE, f, g)`` and
    ``FilterList([f, g], operator="OR")`` all work.

    With AND, members after the first that rejects a cell do not see it, so that their counts stay right.
    With OR, every member sees every cell it did not ask to jump over. Values are transformed (KeyOnlyFilter)
    only by members that included the cell.

    Raises:
        IllegalArgumentException: members disagree on ``reversed``.
    """

    __slots__ = ("_codes", "_hint_giver", "_included", "_seen", "filters", "operator")

    def __init__(
        self,
        *members: Operator | Filter | Iterable[Filter],
        operator: Operator | str = Operator.MUST_PASS_ALL,
    ) -> None:
        super().__init__()
        self.operator = Operator.parse(operator)
        self.filters: list[Filter] = []
        self._hint_giver: int | None = None  # AND: the member that asked for the last seek
        # OR, by member: its last answer, the cell it was for, and whether it included the cell at hand.
        self._codes: list[ReturnCode | None] = []
        self._seen: list[KeyValue | None] = []
        self._included: list[bool] = []
        for member in members:
            if isinstance(member, Operator):
                self.operator = member
            elif isinstance(member, Filter):
                self.add_filter(member)
            else:
                for each in check_items(member, "the members of a FilterList"):
                    self.add_filter(each)

    def add_filter(self, filter: Filter) -> None:
        """Append a member.

        Raises IllegalArgumentException: it is reversed and the list is not, or the other way round.
        """
        if not isinstance(filter, Filter):
            raise WrongTypeException(
                f"a FilterList holds filters, not {type(filter).__name__}: {shown(filter)}"
            )
        if not self.filters:
            self.reversed = filter.reversed
        if filter.reversed != self.reversed:
            raise IllegalArgumentException("Filters in the list must have the same reversed flag")
        self.filters.append(filter)
        self._codes.append(None)
        self._seen.append(None)
        self._included.append(False)

    def reset(self) -> None:
        self._hint_giver = None
        for index, member in enumerate(self.filters):
            member.reset()
            self._codes[index] = self._seen[index] = None
            self._included[index] = False

    def filter_all_remaining(self) -> bool:
        if not self.filters:
            return False
        ends = (member.filter_all_remaining() for member in self.filters)
        return any(ends) if self.operator is Operator.MUST_PASS_ALL else all(ends)

    def filter_row_key(self, row: bytes) -> bool:
        if not self.filters:
            return False
        if self.operator is Operator.MUST_PASS_ALL:
            return self._filter_row_key_and(row)
        # Every member must learn of the new row, so no short cut.
        drop = True
        for member in self.filters:
            if not member.filter_all_remaining() and not member.filter_row_key(row):
                drop = False
        return drop

    def _filter_row_key_and(self, row: bytes) -> bool:
        drop = hinted = False
        for member in self.filters:
            if member.filter_all_remaining():
                return True
            if member.filter_row_key(row):
                drop = True
            elif member.hinting:
                hinted = True
        # Leave a row to the cells when a hint can be had there: it may save reading many more rows.
        return drop and not hinted

    def filter_cell(self, cell: KeyValue) -> ReturnCode:
        if not self.filters:
            return ReturnCode.INCLUDE
        if self.operator is Operator.MUST_PASS_ALL:
            return self._filter_cell_and(cell)
        return self._filter_cell_or(cell)

    def _filter_cell_and(self, cell: KeyValue) -> ReturnCode:
        merged = ReturnCode.INCLUDE
        self._hint_giver = None
        for index, member in enumerate(self.filters):
            if member.filter_all_remaining():
                return ReturnCode.NEXT_ROW
            code = member.filter_cell(cell)
            if code is _SEEK:
                self._hint_giver = index
            merged = AND_MERGE[merged, code]
            if merged not in INCLUDE_CODES:
                return merged
        return merged

    def _filter_cell_or(self, cell: KeyValue) -> ReturnCode:
        merged: ReturnCode | None = None
        for index, member in enumerate(self.filters):
            self._included[index] = False
            if member.filter_all_remaining():
                continue
            code = self._still_jumping(index, member, cell) or member.filter_cell(cell)
            self._codes[index] = code
            self._seen[index] = cell
            self._included[index] = code in INCLUDE_CODES
            merged = code if merged is None else OR_MERGE[merged, code]
        return ReturnCode.SKIP if merged is None else merged

    def _still_jumping(self, index: int, member: Filter, cell: KeyValue) -> ReturnCode | None:
        """The answer of a member that asked to jump over this cell, which another wanted to see."""
        code, seen = self._codes[index], self._seen[index]
        if code is None or seen is None or code is ReturnCode.INCLUDE or code is ReturnCode.SKIP:
            return None
        if code is _SEEK:
            hint = member.next_hint(seen)
            return _SEEK if hint is not None and is_before(cell, hint, self.reversed) else None
        if seen.family != cell.family:
            return None
        if code is ReturnCode.NEXT_ROW or code is ReturnCode.INCLUDE_AND_SEEK_NEXT_ROW:
            return ReturnCode.NEXT_ROW
        return ReturnCode.NEXT_COL if seen.qualifier == cell.qualifier else None

    def transform_value(self, cell: KeyValue) -> bytes:
        everyone = self.operator is Operator.MUST_PASS_ALL
        for index, member in enumerate(self.filters):
            if everyone or self._included[index]:
                value = member.transform_value(cell)
                if value is not cell.value:
                    cell = cell._replace(value=value)
        return cell.value

    def filter_row_cells(self, cells: list[KeyValue]) -> list[KeyValue]:
        for member in self.filters:
            cells = member.filter_row_cells(cells)
        return cells

    def has_filter_row(self) -> bool:
        return any(member.has_filter_row() for member in self.filters)

    def filter_row(self) -> bool:
        if not self.filters:
            return False
        drops = (member.filter_row() for member in self.filters)
        return any(drops) if self.operator is Operator.MUST_PASS_ALL else all(drops)

    def next_hint(self, cell: KeyValue) -> Hint | None:
        """AND: the hint of the member that asked first. OR: the nearest, none if any member has none."""
        if self.operator is Operator.MUST_PASS_ALL:
            giver = None if self._hint_giver is None else self.filters[self._hint_giver]
            return None if giver is None or giver.filter_all_remaining() else giver.next_hint(cell)
        nearest: Hint | None = None
        for member in self.filters:
            if member.filter_all_remaining():
                continue
            hint = member.next_hint(cell)
            if hint is None:
                return None
            nearest = hint if nearest is None else nearer_hint(nearest, hint, self.reversed)
        return nearest

    def set_reversed(self, flag: bool) -> None:
        super().set_reversed(flag)
        for member in self.filters:
            member.set_reversed(flag)

    def filter_string(self) -> bytes:
        if len(self.filters) < 2:
            # The language has no word for lists of none or one member.
            members = b", ".join(member.filter_string() for member in self.filters)
            return b"FilterList(%s%s)" % (self.operator.name.encode(), b", " + members if members else b"")
        word = b" " + self.operator.value.encode() + b" "
        return b"(" + word.join(member.filter_string() for member in self.filters) + b")"
