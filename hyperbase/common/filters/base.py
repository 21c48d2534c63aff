"""What a filter is: the questions the engine asks it while a row passes by, in this order.

    filter_all_remaining()      before a row, and before each cell: the scan (or Get) is over
    filter_row_key(row)         True leaves the row out
    filter_cell(cell)           for each cell, families ascending; the ReturnCode says what comes next
    transform_value(cell)       for each cell that was included: the value to return
    filter_row_cells(cells)     when has_filter_row(): the cells that stay, all of the row
    filter_row()                True leaves the row out; not asked when no cell is left
    reset()                     after each row

Invariants
  * NEXT_ROW ends the row for the family of the cell; the next family's cells are still asked.
  * SEEK_NEXT_USING_HINT means SKIP when ``next_hint`` is ``None`` or not after the current cell.
  * A filter is stateful: every region scan works on its own ``copy.deepcopy``.
  * ``filter_string`` is the filter in HBase's filter language, and its identity: equal text, equal filters.

Source: Apache HBase 2.6, Filter.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import ClassVar, NamedTuple

from hyperbase.common.model import MAX_TIMESTAMP, KeyValue


class ReturnCode(enum.Enum):
    """A filter's answer for one cell."""

    INCLUDE = "INCLUDE"
    INCLUDE_AND_NEXT_COL = "INCLUDE_AND_NEXT_COL"  # and no older version of this column
    SKIP = "SKIP"
    NEXT_COL = "NEXT_COL"
    NEXT_ROW = "NEXT_ROW"  # nothing more of this family in this row
    SEEK_NEXT_USING_HINT = "SEEK_NEXT_USING_HINT"
    INCLUDE_AND_SEEK_NEXT_ROW = "INCLUDE_AND_SEEK_NEXT_ROW"


INCLUDE_CODES = frozenset(
    {ReturnCode.INCLUDE, ReturnCode.INCLUDE_AND_NEXT_COL, ReturnCode.INCLUDE_AND_SEEK_NEXT_ROW}
)


class Hint(NamedTuple):
    """The first place that can matter again: cells before it need not be looked at.

    ``family`` is ``None`` for the start of a row, ``timestamp`` is ``None`` for the newest version.
    """

    row: bytes
    family: bytes | None = None
    qualifier: bytes | None = None
    timestamp: int | None = None  # ms

    def column_key(self) -> tuple[bytes, bytes, int]:
        """Where the hint stands inside its row; compares with ``cell_column_key``."""
        stamp = MAX_TIMESTAMP + 1 if self.timestamp is None else self.timestamp
        return self.family or b"", self.qualifier or b"", -stamp


def is_before(cell: KeyValue, hint: Hint, reversed_scan: bool) -> bool:
    """Whether a scan meets ``cell`` before ``hint``; columns ascend in both directions."""
    if cell.row != hint.row:
        return (cell.row > hint.row) if reversed_scan else (cell.row < hint.row)
    return (cell.family, cell.qualifier, -cell.timestamp) < hint.column_key()


def nearer_hint(first: Hint, second: Hint, reversed_scan: bool) -> Hint:
    """The hint that a scan meets first."""
    if first.row != second.row:
        return first if (first.row < second.row) is not reversed_scan else second
    return first if first.column_key() <= second.column_key() else second


class Filter:
    """Passes everything; the base of every filter. See the module for the order of the calls."""

    __slots__ = ("reversed",)

    # Such a filter steers the scan by hints, so an AND must not drop a row key before it was asked.
    hinting: ClassVar[bool] = False

    def __init__(self) -> None:
        self.reversed = False

    def reset(self) -> None:
        """Forget the row that just ended."""

    def filter_row_key(self, row: bytes) -> bool:
        """True leaves the row out."""
        return False

    def filter_all_remaining(self) -> bool:
        """True ends the scan."""
        return False

    def filter_cell(self, cell: KeyValue) -> ReturnCode:
        """What to do with one cell."""
        return ReturnCode.INCLUDE

    def transform_value(self, cell: KeyValue) -> bytes:
        """The value to return for a cell that was included."""
        return cell.value

    def filter_row_cells(self, cells: list[KeyValue]) -> list[KeyValue]:
        """The cells of the whole row that stay."""
        return cells

    def has_filter_row(self) -> bool:
        """Whether the filter decides on whole rows, so that a scan may not cut rows into batches."""
        return False

    def filter_row(self) -> bool:
        """True leaves the row out, after all its cells were seen."""
        return False

    def next_hint(self, cell: KeyValue) -> Hint | None:
        """Where to go after SEEK_NEXT_USING_HINT for ``cell``."""
        return None

    def set_reversed(self, flag: bool) -> None:
        """Tell the filter that rows come in descending order."""
        self.reversed = flag

    def filter_string(self) -> bytes:
        """The filter in HBase's filter language (a look-alike where the language has no word for it)."""
        return call_string(self)

    def __repr__(self) -> str:
        return self.filter_string().decode("utf-8", "backslashreplace")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Filter):
            return NotImplemented
        return type(self) is type(other) and self.filter_string() == other.filter_string()

    def __hash__(self) -> int:
        return hash(self.filter_string())


def quote(value: bytes) -> bytes:
    """A byte argument of a filter string: in single quotes, quotes inside doubled."""
    return b"'" + value.replace(b"'", b"''") + b"'"


def boolean(value: bool) -> bytes:
    """A boolean argument of a filter string."""
    return b"true" if value else b"false"


def call_string(filter_: Filter, arguments: Iterable[bytes] = ()) -> bytes:
    """``Name(arguments)``."""
    return type(filter_).__name__.encode() + b"(" + b", ".join(arguments) + b")"
