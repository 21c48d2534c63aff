"""Edits: what one mutation does to one row, as the log stores it and the MemStore holds it.

An edit is an immutable tuple ``(sequence_id, timestamp, shape_id, values)``.

* ``shape_id >= 0``: puts of one timestamp; ``values`` runs parallel to the interned ``Shape``'s columns.
  A ten-column put then costs one tuple of its values; nothing is stored per cell.
* ``shape_id == GENERAL``: anything else; ``values`` is a sorted tuple of ``EditCell``
  ``(family, qualifier, -timestamp, -type, -sequence_id, value, ttl_ms)``.

Both hold only bytes and integers, so Python's cyclic collector stops tracking them.

Log payload := msgpack [version = 1, first sequence id, timestamp, tables, rows, nonce | nil, origin | nil]
  tables := {id: [b"family:qualifier", ...], ...}         column-name tables of this record
  row    := [row, table id >= 0, values, timestamp | nil, hint]   regular edit; nil: the record's timestamp
          | [row, -1, [[family, qualifier, timestamp, type, value, ttl_ms], ...], nil, hint]   general edit
  hint   := what the edit occupies in memory, in bytes; informative
  nonce  := [client id, number | [number, ...] (one for each row), oldest unanswered number, result | nil]
  origin := id of the cluster where the edit was first written; nil: this one
Row ``i`` has sequence id ``first + i``. See docs/formats.md.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

import msgpack

from hyperbase.common.errors import StoreFormatException
from regionserver.storage.cells import PUT, StoreCell

GENERAL = -1
PAYLOAD_VERSION = 1  # Persisted: numbers are never reused.

MAX_SHAPES = 4096  # distinct column sets interned per table; later ones become general edits
MAX_SHAPE_COLUMNS = 256

EditCell = tuple[bytes, bytes, int, int, int, bytes, int]
Edit = tuple[int, int, int, tuple[Any, ...]]
# A row's edit before it has a sequence id: (row, shape id, values, timestamp | None, bytes it will occupy).
LoweredRow = tuple[bytes, int, tuple[Any, ...], "int | None", int]


class Shape:
    """An interned, sorted set of columns."""

    __slots__ = ("families", "id", "names", "overhead_bytes", "qualifiers", "single_family")

    def __init__(self, shape_id: int, names: tuple[bytes, ...]) -> None:
        self.id = shape_id
        self.names = names
        pairs = [name.split(b":", 1) for name in names]
        self.qualifiers = tuple(qualifier for _, qualifier in pairs)
        spans: list[tuple[bytes, int, int]] = []
        for index, (family, _) in enumerate(pairs):
            if spans and spans[-1][0] == family:
                spans[-1] = (family, spans[-1][1], index + 1)
            else:
                spans.append((family, index, index + 1))
        self.families = tuple(spans)  # (family, first column, last column + 1)
        self.single_family = spans[0][0] if len(spans) == 1 else None
        # Measured with tracemalloc on CPython 3.11: tuple slots and the header of each bytes value.
        self.overhead_bytes = 40 + len(names) * (8 + 33 + 7)


class ShapeTable:
    """The shapes of one table, shared by its regions, found by the names in the caller's order."""

    def __init__(self) -> None:
        self.shapes: list[Shape] = []
        self._by_names: dict[tuple[bytes, ...], Shape] = {}
        # names as given -> (shape, permutation to sorted order or None); None: not internable
        self.by_given: dict[tuple[bytes, ...], tuple[Shape, Any] | None] = {}
        self._lock = threading.Lock()

    def intern(self, names: tuple[bytes, ...]) -> Shape | None:
        """The shape of sorted ``names``, or ``None`` when the table of shapes is full."""
        shape = self._by_names.get(names)
        if shape is None and 0 < len(names) <= MAX_SHAPE_COLUMNS:
            with self._lock:  # writers lower outside the region's lock; a shape's id is its place
                shape = self._by_names.get(names)
                if shape is None and len(self.shapes) < MAX_SHAPES:
                    shape = Shape(len(self.shapes), names)
                    self.shapes.append(shape)
                    self._by_names[names] = shape
        return shape

    def find(self, given: tuple[bytes, ...]) -> tuple[Shape, Any] | None:
        """The shape for columns in the caller's order, with the permutation that sorts their values."""
        order = sorted(range(len(given)), key=lambda i: split_name(given[i]))
        shape = self.intern(tuple(given[i] for i in order))
        if shape is None:
            return None
        permute = None if order == list(range(len(given))) else itemgetter(*order)
        if len(self.by_given) < 4 * MAX_SHAPES:
            self.by_given[given] = (shape, permute)
        return shape, permute


def split_name(name: bytes) -> tuple[bytes, bytes]:
    """``b"family:qualifier"`` in its two parts."""
    family, _, qualifier = name.partition(b":")
    return family, qualifier


EDIT_OVERHEAD_BYTES = 72 + 32 + 32  # the edit tuple, its sequence id and timestamp
ROW_OVERHEAD_BYTES = 48 + 40 + 105 + 9  # tuple of edits, key header, dict entry, sorted list slot
CELL_OVERHEAD_BYTES = 96 + 3 * 32 + 40  # EditCell tuple, its integers, value header


def regular_size(row: bytes, shape: Shape, value_bytes: int) -> int:
    """Accounted bytes of a regular edit; the row's own overhead is added with its first edit."""
    return EDIT_OVERHEAD_BYTES + shape.overhead_bytes + value_bytes


def general_size(cells: Iterable[EditCell]) -> int:
    """Accounted bytes of a general edit."""
    return EDIT_OVERHEAD_BYTES + sum(CELL_OVERHEAD_BYTES + len(cell[1]) + 33 + len(cell[5]) for cell in cells)


def edit_cells(edit: Edit, shapes: Sequence[Shape], family: bytes) -> list[StoreCell]:
    """The cells of one family in an edit, in cell order."""
    sequence_id, timestamp, shape_id, values = edit
    if shape_id >= 0:
        shape = shapes[shape_id]
        for name, begin, end in shape.families:
            if name == family:
                stamp, seq = -timestamp, -sequence_id
                return [
                    (qualifier, stamp, -PUT, seq, value, 0)
                    for qualifier, value in zip(shape.qualifiers[begin:end], values[begin:end], strict=True)
                ]
        return []
    return [cell[1:] for cell in values if cell[0] == family]


def encode_payload(
    first_sequence_id: int,
    timestamp: int,
    rows: Sequence[LoweredRow],
    shapes: Sequence[Shape],
    nonce: tuple[bytes, Any, int, Any] | None = None,
) -> bytes:
    """The log payload of consecutive edits of one region."""
    ids = {row[1] for row in rows}
    packed: Sequence[Any] = rows
    if GENERAL in ids:
        ids.discard(GENERAL)
        packed = [
            row if row[1] >= 0 else (row[0], GENERAL, [_plain(cell) for cell in row[2]], None, row[4])
            for row in rows
        ]
    names = {shape_id: shapes[shape_id].names for shape_id in ids}
    payload: bytes = msgpack.packb(
        (PAYLOAD_VERSION, first_sequence_id, timestamp, names, packed, nonce, None), use_bin_type=True
    )
    return payload


def _plain(cell: EditCell) -> tuple[bytes, bytes, int, int, bytes, int]:
    return cell[0], cell[1], -cell[2], -cell[3], cell[5], cell[6]


class DecodedPayload:
    """A log payload, ready to be applied."""

    __slots__ = ("first_sequence_id", "nonce", "rows", "timestamp")

    def __init__(self, payload: bytes, shapes: ShapeTable) -> None:
        version, first, timestamp, names, rows, nonce, *_origin = msgpack.unpackb(
            payload, use_list=False, raw=False, strict_map_key=False
        )
        if version != PAYLOAD_VERSION:
            raise StoreFormatException(
                f"log payload of version {version}: this program reads version {PAYLOAD_VERSION}; "
                "use a newer one"
            )
        self.first_sequence_id: int = first
        self.timestamp: int = timestamp
        self.nonce: tuple[bytes, Any, int, Any] | None = nonce
        self.rows: list[tuple[bytes, Edit, int]] = list(self._edits(names, rows, shapes))

    def _edits(
        self, names: Mapping[int, tuple[bytes, ...]], rows: Sequence[tuple[Any, ...]], shapes: ShapeTable
    ) -> Iterator[tuple[bytes, Edit, int]]:
        tables = {number: shapes.intern(tuple(table)) for number, table in names.items()}
        for sequence_id, (row, index, values, stamp, _hint) in enumerate(rows, self.first_sequence_id):
            timestamp = self.timestamp if stamp is None else stamp
            shape = tables[index] if index >= 0 else None
            if shape is not None:
                size = regular_size(row, shape, sum(map(len, values)))
                yield row, (sequence_id, timestamp, shape.id, values), size
                continue
            if index >= 0:  # the table of shapes is full
                cells = [
                    (*split_name(name), -timestamp, -PUT, -sequence_id, value, 0)
                    for name, value in zip(names[index], values, strict=True)
                ]
            else:
                cells = [
                    (family, qualifier, -ts, -kind, -sequence_id, value, ttl)
                    for family, qualifier, ts, kind, value, ttl in values
                ]
            yield row, (sequence_id, timestamp, GENERAL, tuple(cells)), general_size(cells)
