"""Lowering: mutations as the API gives them become the rows the log and the MemStore take.

A lowered row is ``(row, shape id, values, timestamp | None, size)``; a row that is not regular has shape
``GENERAL`` and, until the region stamps it, ``values`` of ``(family, qualifier, timestamp | None, type,
value, ttl_ms)``. Everything that can be refused is refused here, before a lock is taken or a byte written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hyperbase.common.descriptors import TableDescriptor
from hyperbase.common.errors import IllegalArgumentException, NoSuchColumnFamilyException
from hyperbase.common.model import MAX_ROW_LENGTH, Delete, Put
from regionserver.storage.cells import DELETE_FAMILY, PUT
from regionserver.storage.edits import GENERAL, EditCell, LoweredRow, ShapeTable, regular_size

KEY_VALUE_OVERHEAD = 20  # HBase's KeyValue: lengths, timestamp and type around row, family, qualifier, value

SUBMIT_ROWS = 4096  # most rows of one log record
SUBMIT_BYTES = 16 * 1024 * 1024  # of a record with several rows; back-pressure works record by record

MAX_SHAPE_NAME_BYTES = 65_536  # rows with a longer column name are never regular

RawCell = tuple[bytes, bytes, "int | None", int, bytes, int]


class Lowering:
    """Lowers mutations of one table. Immutable but for the interned shapes; any thread."""

    __slots__ = ("_surely_small_bytes", "families", "max_key_value_bytes", "shapes", "table")

    def __init__(self, descriptor: TableDescriptor, shapes: ShapeTable, max_key_value_bytes: int) -> None:
        self.table = descriptor.name
        self.families = frozenset(descriptor.family_names)
        self.shapes = shapes
        self.max_key_value_bytes = max_key_value_bytes
        # A regular row whose values together have no more bytes than this has no cell that is too large.
        keys = MAX_ROW_LENGTH + MAX_SHAPE_NAME_BYTES + KEY_VALUE_OVERHEAD
        self._surely_small_bytes = max_key_value_bytes - keys if max_key_value_bytes > 0 else 2**63

    def check_family(self, family: bytes) -> None:
        if family not in self.families:
            raise NoSuchColumnFamilyException(
                f"Column family {family.decode('utf-8', 'backslashreplace')} does not exist in table "
                f"{self.table}: its families are "
                + ", ".join(sorted(name.decode("utf-8", "backslashreplace") for name in self.families))
            )

    def dict_row(self, row: bytes, data: Mapping[bytes, bytes], timestamp: int | None) -> LoweredRow:
        """A row of puts given as ``{b"family:qualifier": value}``; keys and values are bytes."""
        if not 0 < len(row) <= MAX_ROW_LENGTH:
            self._refuse_row(row)
        given = tuple(data)
        known = self.shapes.by_given.get(given)
        if known is None:
            known = self._new_shape(given)
            if known is None:
                return self._general_dict_row(row, data, timestamp)
        shape, permute = known
        values = tuple(data.values()) if permute is None else permute(tuple(data.values()))
        size = sum(map(len, values))
        if size > self._surely_small_bytes:
            for name, value in zip(shape.names, values, strict=True):
                self.check_size(len(row) + len(name) - 1 + len(value))
        return row, shape.id, values, timestamp, regular_size(row, shape, size)

    def table_rows(
        self,
        tables: Sequence[tuple[bytes, ...]],
        rows: Sequence[tuple[bytes, int, tuple[bytes, ...]]],
        timestamp: int | None,
    ) -> list[LoweredRow]:
        """Rows of puts given as ``(row, table, values)``, the values parallel to ``tables[table]``."""
        by_given = self.shapes.by_given
        shapes = [by_given.get(names) or self._new_shape(names) for names in tables]
        limit, lowered = self._surely_small_bytes, []
        for row, table, values in rows:
            known = shapes[table]
            size = sum(map(len, values))
            if known is None or size > limit or not 0 < len(row) <= MAX_ROW_LENGTH:
                data = dict(zip(tables[table], values, strict=True))
                lowered.append(self.dict_row(row, data, timestamp))
                continue
            shape, permute = known
            if permute is not None:
                values = permute(values)
            lowered.append((row, shape.id, values, timestamp, regular_size(row, shape, size)))
        return lowered

    def _refuse_row(self, row: bytes) -> None:
        if not row:
            raise IllegalArgumentException("Row length is 0: a row key has at least one byte")
        raise IllegalArgumentException(f"Row length {len(row)} is > {MAX_ROW_LENGTH}")

    def _new_shape(self, given: tuple[bytes, ...]) -> Any:
        if not given:
            raise IllegalArgumentException("No columns to insert")
        for name in given:
            self.check_family(name.partition(b":")[0])
        if any(b":" not in name for name in given) or len(set(given)) != len(given):
            return None
        if max(map(len, given)) > MAX_SHAPE_NAME_BYTES:
            return None
        return self.shapes.find(given)

    def _general_dict_row(self, row: bytes, data: Mapping[bytes, bytes], timestamp: int | None) -> LoweredRow:
        cells: list[RawCell] = []
        for name, value in data.items():
            family, _, qualifier = name.partition(b":")
            self.check_size(len(row) + len(family) + len(qualifier) + len(value))
            cells.append((family, qualifier, timestamp, PUT, value, 0))
        return row, GENERAL, tuple(cells), timestamp, 0

    def check_size(self, bytes_beside_overhead: int) -> None:
        if bytes_beside_overhead + KEY_VALUE_OVERHEAD > self.max_key_value_bytes > 0:
            raise IllegalArgumentException(
                f"KeyValue size too large: {bytes_beside_overhead + KEY_VALUE_OVERHEAD} bytes with its key, "
                f"at most {self.max_key_value_bytes} (max_key_value_bytes)"
            )

    def relower(self, row: LoweredRow, other: Lowering) -> LoweredRow:
        """A row that another region's lowering made, for this region's shapes."""
        key, shape_id, values, stamp, _ = row
        if shape_id < 0:
            return row
        names = other.shapes.shapes[shape_id].names
        return self.dict_row(key, dict(zip(names, values, strict=True)), stamp)

    def put(self, put: Put) -> LoweredRow:
        """A Put; regular when its cells share a timestamp, have no TTL and name each column once."""
        if not put.cells:
            raise IllegalArgumentException("No columns to insert")
        stamp = put.cells[0][2]
        if put.ttl_ms is None and all(cell[2] == stamp for cell in put.cells):
            data = {family + b":" + qualifier: value for family, qualifier, _, value in put.cells}
            return self.dict_row(put.row, data, stamp)
        return put.row, GENERAL, tuple(self.put_cells(put)), None, 0

    def put_cells(self, put: Put) -> list[RawCell]:
        """The cells of a Put one by one."""
        if not put.cells:
            raise IllegalArgumentException("No columns to insert")
        cells: list[RawCell] = []
        for family, qualifier, stamp, value in put.cells:
            self.check_family(family)
            self.check_size(len(put.row) + len(family) + len(qualifier) + len(value))
            cells.append((family, qualifier, stamp, PUT, value, put.ttl_ms or 0))
        return cells

    def delete_cells(self, delete: Delete) -> list[RawCell]:
        """The markers of a Delete; with none added, one for every family of the table."""
        if not delete.markers:
            return [(name, b"", delete.timestamp, DELETE_FAMILY, b"", 0) for name in sorted(self.families)]
        for family, *_ in delete.markers:
            self.check_family(family)
        return [
            (family, qualifier, stamp, int(kind), b"", 0) for family, qualifier, stamp, kind in delete.markers
        ]


def largest_key_value(put: Put) -> int:
    """Bytes of the largest cell of a Put, its key included; 0 of an empty one."""
    sizes = [len(family) + len(qualifier) + len(value) for family, qualifier, _, value in put.cells]
    return len(put.row) + max(sizes) + KEY_VALUE_OVERHEAD if sizes else 0


def stamp_cells(cells: Iterable[RawCell], now: int, sequence_id: int) -> tuple[EditCell, ...]:
    """Raw cells with the region's timestamp and sequence id, sorted; of equal cells the last one counts."""
    stamped: dict[tuple[bytes, bytes, int, int], EditCell] = {}
    for family, qualifier, timestamp, kind, value, ttl_ms in cells:
        at = -(now if timestamp is None else timestamp)
        stamped[family, qualifier, at, kind] = (family, qualifier, at, -kind, -sequence_id, value, ttl_ms)
    return tuple(sorted(stamped.values()))


def has_markers(cells: Sequence[RawCell]) -> bool:
    """Some cell is a delete marker."""
    return any(cell[3] != PUT for cell in cells)


def log_records(rows: list[LoweredRow]) -> Iterator[list[LoweredRow]]:
    """The rows in parts that each make one log record."""
    if len(rows) <= SUBMIT_ROWS and sum(map(_row_bytes, rows)) <= SUBMIT_BYTES:
        yield rows
        return
    begin = size = 0
    for end, row in enumerate(rows):
        size += _row_bytes(row)
        if end > begin and (size > SUBMIT_BYTES or end - begin >= SUBMIT_ROWS):
            yield rows[begin:end]
            begin, size = end, _row_bytes(row)
    yield rows[begin:]


def _row_bytes(row: LoweredRow) -> int:
    if row[1] >= 0:
        return row[4]
    return sum(len(cell[1]) + len(cell[4]) for cell in row[2])
