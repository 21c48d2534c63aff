"""The visible cells of a segment as Arrow tables: a row for each cell, or a row for each row key.

Blocks whose rows all have the same qualifiers are taken apart by stride; other cells by their place in the
row. Several families are brought together by row key. Everything runs in Arrow and numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hyperbase.client.arrow_layout import CELLS_SCHEMA
from regionserver.region.vector_scan import Piece
from regionserver.storage.cells import PUT
from regionserver.storage.store_file_format import QUALIFIER, TIMESTAMP, VALUE

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

# What ``Segment.read`` has to bring.
CELLS_NEED = frozenset({QUALIFIER, TIMESTAMP, VALUE})
WIDE_NEEDS = frozenset({QUALIFIER, VALUE})
NAMES_NEED = frozenset({QUALIFIER})


# -- a row for each cell -------------------------------------------------------------------------------


def cells_layout(pieces: Sequence[Piece]) -> pa.RecordBatch | None:
    """The cells of all pieces in row, family, qualifier order; ``None`` when there are none."""
    batches = [batch for piece in pieces if (batch := _piece_cells(piece)) is not None]
    if len(batches) < 2:
        return batches[0] if batches else None
    joined = pa.concat_batches(batches)
    # Pieces come in family order, and a row's cells in one piece are one run: order the runs by row.
    starts_run = _changes(joined.column(0))
    starts_run[np.cumsum([batch.num_rows for batch in batches[:-1]])] = True
    starts = np.flatnonzero(starts_run)
    lengths = np.diff(starts, append=joined.num_rows)
    by_row = np.argsort(_ranks(joined.column(0).take(pa.array(starts))), kind="stable")
    ends = np.cumsum(lengths[by_row])
    order = np.repeat(starts[by_row] - ends + lengths[by_row], lengths[by_row]) + np.arange(joined.num_rows)
    return joined.take(pa.array(order))


def _piece_cells(piece: Piece) -> pa.RecordBatch | None:
    rows, values = _joined(piece.batches, "row"), _joined(piece.batches, "value")
    count, shape = len(rows), piece.shape
    if shape is None:
        qualifiers = _joined(piece.batches, "qualifier")
    else:
        numbers = np.tile(np.arange(len(shape), dtype=np.int32), count // len(shape))
        qualifiers = pa.array(shape, pa.binary()).take(pa.array(numbers))
    if piece.timestamp is None:
        stamps = _joined(piece.batches, "timestamp")
    else:
        stamps = pa.array(np.full(count, piece.timestamp, np.int64))
    wanted = piece.read.qualifiers
    if wanted is not None:
        places = _wanted_places(piece, qualifiers, wanted)
        count = len(places)
        rows, values = rows.take(places), values.take(places)
        qualifiers, stamps = qualifiers.take(places), stamps.take(places)
    if not count:
        return None
    types = pa.array(np.full(count, PUT, np.uint8))
    columns = [rows, _repeat(piece.read.family, count), qualifiers, stamps, types, values]
    return pa.RecordBatch.from_arrays(columns, schema=CELLS_SCHEMA)


def _wanted_places(piece: Piece, qualifiers: pa.Array, wanted: Any) -> pa.Array:
    """Which cells are of the columns asked for; the container is asked once for each qualifier."""
    if piece.shape is not None:
        chosen = np.array([qualifier in wanted for qualifier in piece.shape], np.bool_)
        mask = np.tile(chosen, len(qualifiers) // len(piece.shape))
    else:
        encoded = qualifiers.dictionary_encode()
        known = [qualifier in wanted for qualifier in encoded.dictionary.to_pylist()]
        mask = np.array(known, np.bool_)[encoded.indices.to_numpy(zero_copy_only=False)]
    return pa.array(np.flatnonzero(mask))


def _repeat(value: bytes, count: int) -> pa.Array:
    """``value``, ``count`` times."""
    offsets = np.arange(count + 1, dtype=np.int32) * len(value)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(value * count)]
    return pa.Array.from_buffers(pa.binary(), count, buffers)


def distinct_columns(pieces: Sequence[Piece]) -> set[tuple[bytes, bytes]]:
    """(family, qualifier) of every visible cell."""
    found: set[tuple[bytes, bytes]] = set()
    for piece in pieces:
        names: set[bytes] = set(piece.shape or ())
        if piece.shape is None:
            for batch in piece.batches:
                names.update(pc.unique(batch.column("qualifier")).to_pylist())
        wanted = piece.read.qualifiers
        found |= {(piece.read.family, name) for name in names if wanted is None or name in wanted}
    return found


# -- a row for each row key ----------------------------------------------------------------------------


def wide_layout(
    pieces: Sequence[Piece], columns: Sequence[tuple[bytes, bytes]]
) -> tuple[pa.Array, list[pa.Array]]:
    """(row keys, one array of values for each column): the newest value of each cell, null where none is.

    Rows without any of the columns are left out.
    """
    parts: list[tuple[pa.Array, dict[tuple[bytes, bytes], pa.Array]]] = []
    for piece in pieces:
        family = piece.read.family
        wanted = [qualifier for name, qualifier in columns if name == family]
        if not wanted:
            continue
        rows, values = _uniform_wide(piece, wanted) if piece.shape is not None else _pivot(piece, wanted)
        if len(rows):
            parts.append((rows, {(family, qualifier): array for qualifier, array in values.items()}))
    if not parts:
        return pa.array([], pa.binary()), [pa.array([], pa.binary()) for _ in columns]
    rows = parts[0][0]
    merged: Mapping[tuple[bytes, bytes], pa.Array] = parts[0][1]
    if len(parts) > 1:
        rows, merged = _align(parts)
    absent = pa.nulls(len(rows), pa.binary())
    return rows, [merged.get(column, absent) for column in columns]


def _uniform_wide(piece: Piece, wanted: Sequence[bytes]) -> tuple[pa.Array, dict[bytes, pa.Array]]:
    """Every row has the same qualifiers: column ``j`` is every ``width``-th cell from ``j`` on."""
    shape = piece.shape
    assert shape is not None
    width = len(shape)
    places = {qualifier: shape.index(qualifier) for qualifier in wanted if qualifier in shape}
    if not places:
        return pa.array([], pa.binary()), {}
    if 4 * len(places) <= width:  # few columns: do not copy all values together first
        return _strided(piece.batches, "row", 0, width), {
            qualifier: _strided(piece.batches, "value", place, width) for qualifier, place in places.items()
        }
    values = _joined(piece.batches, "value")
    steps = np.arange(0, len(values), width)
    return _strided(piece.batches, "row", 0, width), {
        qualifier: values.take(pa.array(steps + place)) for qualifier, place in places.items()
    }


def _strided(batches: Sequence[pa.RecordBatch], name: str, place: int, width: int) -> pa.Array:
    taken = [batch.column(name).take(pa.array(np.arange(place, batch.num_rows, width))) for batch in batches]
    return taken[0] if len(taken) == 1 else pa.concat_arrays(taken)


def _pivot(piece: Piece, wanted: Sequence[bytes]) -> tuple[pa.Array, dict[bytes, pa.Array]]:
    """Cells to columns, by (row number, qualifier number)."""
    rows, qualifiers = _joined(piece.batches, "row"), _joined(piece.batches, "qualifier")
    encoded = qualifiers.dictionary_encode()
    numbers = {qualifier: number for number, qualifier in enumerate(wanted)}
    column_of = np.array([numbers.get(name, -1) for name in encoded.dictionary.to_pylist()], np.int64)
    columns = column_of[encoded.indices.to_numpy(zero_copy_only=False)]
    cells = np.flatnonzero(columns >= 0)
    if not len(cells):
        return pa.array([], pa.binary()), {}
    columns = columns[cells]
    new_row = _changes(rows)
    row_numbers = np.cumsum(new_row)[cells]
    first = np.ones(len(cells), np.bool_)
    first[1:] = row_numbers[1:] != row_numbers[:-1]
    places = np.cumsum(first) - 1
    # One slot for each (row, column); backwards, so that of several versions the first, newest stays.
    slots = np.full((len(wanted), int(places[-1]) + 1), -1, np.int64)
    slots[columns[::-1], places[::-1]] = cells[::-1]
    values = _joined(piece.batches, "value")
    out = {
        qualifier: values.take(pa.array(slots[number], mask=slots[number] < 0))
        for qualifier, number in numbers.items()
    }
    return rows.take(pa.array(cells[first])), out


def _align(
    parts: Sequence[tuple[pa.Array, dict[tuple[bytes, bytes], pa.Array]]],
) -> tuple[pa.Array, dict[tuple[bytes, bytes], pa.Array]]:
    """Several families' rows as one ascending list of rows, their columns beside it."""
    first = parts[0][0]
    if all(rows.equals(first) for rows, _ in parts[1:]):
        return first, {name: array for _, columns in parts for name, array in columns.items()}
    every = pa.concat_arrays([rows for rows, _ in parts])
    ranks = _ranks(every)
    count = int(ranks.max()) + 1
    place = np.empty(count, np.int64)
    place[ranks] = np.arange(len(every))
    out: dict[tuple[bytes, bytes], pa.Array] = {}
    begin = 0
    for rows, columns in parts:
        own = np.full(count, -1, np.int64)
        own[ranks[begin : begin + len(rows)]] = np.arange(len(rows))
        begin += len(rows)
        indices = pa.array(own, mask=own < 0)
        out.update((name, array.take(indices)) for name, array in columns.items())
    return every.take(pa.array(place)), out


# -- helpers -------------------------------------------------------------------------------------------


def _joined(batches: Sequence[pa.RecordBatch], name: str) -> pa.Array:
    if len(batches) == 1:
        return batches[0].column(name)
    return pa.concat_arrays([batch.column(name) for batch in batches])


def _changes(column: pa.Array) -> Bools:
    """True where a value differs from the one before it; true at 0."""
    out = np.ones(len(column), np.bool_)
    if len(column) > 1:
        differs = pc.not_equal(column.slice(1), column.slice(0, len(column) - 1))
        out[1:] = differs.to_numpy(zero_copy_only=False)
    return out


def _ranks(values: pa.Array) -> Ints:
    """The place of each value among the distinct values, in byte order."""
    encoded = values.dictionary_encode()
    by_value = pc.sort_indices(encoded.dictionary).to_numpy(zero_copy_only=False)
    rank = np.empty(len(by_value), np.int64)
    rank[by_value] = np.arange(len(by_value))
    result: Ints = rank[encoded.indices.to_numpy(zero_copy_only=False)]
    return result


def count_rows(rows: pa.Array) -> int:
    """How many distinct row keys an ascending array has."""
    return int(_changes(rows).sum()) if len(rows) else 0


def first_rows_end(rows: pa.Array, count: int) -> int:
    """How many entries of an ascending array belong to its first ``count`` row keys."""
    starts = np.flatnonzero(_changes(rows))
    return len(rows) if count >= len(starts) else int(starts[count])
