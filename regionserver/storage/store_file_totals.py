"""Totals of a StoreFile, summed batch by batch: by the writer to record them, by verify() to compare."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hyperbase.common.model import MAX_TIMESTAMP, CellType
from regionserver.storage.store_file_format import (
    CELL_FIXED_BYTES,
    QUALIFIER,
    ROW,
    SEQUENCE_ID,
    TAGS,
    TIMESTAMP,
    TYPE,
    VALUE,
    Ints,
)

Bools = npt.NDArray[np.bool_]


def offsets_of(column: pa.Array) -> npt.NDArray[np.int32]:
    """The ``len + 1`` offsets of a binary column into its data buffer, without a copy."""
    offsets = column.buffers()[1]
    if offsets is None or not len(column):
        return np.zeros(len(column) + 1, np.int32)
    return np.frombuffer(offsets, np.int32, len(column) + 1, column.offset * 4)


def numbers(column: pa.Array) -> npt.NDArray[np.int64]:
    """An integer column as numpy, without a copy."""
    result: npt.NDArray[np.int64] = column.to_numpy()
    return result


def changes(column: pa.Array) -> Bools:
    """``result[i]``: cell ``i + 1`` differs from cell ``i``."""
    count = len(column)
    if count < 2:
        return np.zeros(0, np.bool_)
    result: Bools = pc.not_equal(column.slice(1), column.slice(0, count - 1)).to_numpy(zero_copy_only=False)
    return result


def concat(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """One batch of all cells, which together fit Arrow's 32-bit offsets."""
    (batch,) = pa.Table.from_batches(batches).combine_chunks().to_batches()
    return batch


def wide_deletes(types: npt.NDArray[np.int64]) -> Bools:
    """Markers that mask everything up to their timestamp: DELETE_COLUMN and DELETE_FAMILY."""
    result: Bools = (types == CellType.DELETE_COLUMN) | (types == CellType.DELETE_FAMILY)
    return result


def family_markers(types: npt.NDArray[np.int64]) -> Bools:
    """Markers that mask cells of every column of their row."""
    result: Bools = (types == CellType.DELETE_FAMILY) | (types == CellType.DELETE_FAMILY_VERSION)
    return result


class ChunkView:
    """A run of cells with what both writer and verifier ask about it.

    Args:
        batch: at least one cell.
        before: row and qualifier of the cell before the first; None at the file's begin.
    """

    def __init__(self, batch: pa.RecordBatch, before: tuple[bytes, bytes] | None) -> None:
        self.batch = batch
        rows, qualifiers = batch.column(ROW), batch.column(QUALIFIER)
        first = (rows[0].as_py(), qualifiers[0].as_py())
        same_row = before is not None and before[0] == first[0]
        self.new_row: Bools = np.concatenate(([not same_row], changes(rows)))
        new_qualifier = np.concatenate(([before is None or before[1] != first[1]], changes(qualifiers)))
        self.new_column: Bools = self.new_row | new_qualifier
        self.row_starts: Ints = np.flatnonzero(self.new_row)

    def distinct_rows(self, end: int) -> pa.Array:
        """Rows that begin before cell ``end``."""
        starts = self.row_starts[: np.searchsorted(self.row_starts, end)]
        return self.batch.column(ROW).take(pa.array(starts))

    def columns(self, end: int) -> pa.RecordBatch:
        """The first cell of each (row, qualifier) that begins before cell ``end``."""
        return self.batch.select([ROW, QUALIFIER]).take(pa.array(np.flatnonzero(self.new_column[:end])))


class FileTotals:
    """Counts and ranges of the cells seen so far."""

    def __init__(self) -> None:
        self.cell_count = 0
        self.row_count = 0
        self.put_count = 0
        self.family_marker_count = 0
        self.has_ttl = False
        self.raw_bytes = 0
        self.first_row = b""
        self.last_row = b""
        self.min_put_timestamp = MAX_TIMESTAMP
        self.min_timestamp = MAX_TIMESTAMP
        self.max_timestamp = 0
        self.min_sequence_id = 2**63 - 1
        self.max_sequence_id = 0

    def add(self, batch: pa.RecordBatch, row_count: int) -> None:
        """Count ``batch``; ``row_count`` of its rows begin in it."""
        if not batch.num_rows:
            return
        stamps, types = numbers(batch.column(TIMESTAMP)), numbers(batch.column(TYPE))
        sequence_ids, tags = numbers(batch.column(SEQUENCE_ID)), batch.column(TAGS)
        if not self.cell_count:
            self.first_row = batch.column(ROW)[0].as_py()
        self.last_row = batch.column(ROW)[batch.num_rows - 1].as_py()
        self.cell_count += batch.num_rows
        self.row_count += row_count
        puts = types == CellType.PUT
        put_count = int(np.count_nonzero(puts))
        self.put_count += put_count
        lowest = int(stamps.min())
        if put_count == batch.num_rows:
            self.min_put_timestamp = min(self.min_put_timestamp, lowest)
        else:
            if put_count:
                self.min_put_timestamp = min(self.min_put_timestamp, int(stamps[puts].min()))
            if wide_deletes(types).any():
                lowest = 0
            self.family_marker_count += int(np.count_nonzero(family_markers(types)))
        self.min_timestamp = min(self.min_timestamp, lowest)
        self.max_timestamp = max(self.max_timestamp, int(stamps.max()))
        self.min_sequence_id = min(self.min_sequence_id, int(sequence_ids.min()))
        self.max_sequence_id = max(self.max_sequence_id, int(sequence_ids.max()))
        self.has_ttl = self.has_ttl or tags.null_count != len(tags)
        self.raw_bytes += int(raw_ends(batch)[-1])

    def as_dict(self) -> dict[str, object]:
        """The fields of ``StoreFileInfo`` that come from the cells; an empty file has zeros."""
        empty = not self.cell_count
        return {
            "cell_count": self.cell_count,
            "row_count": self.row_count,
            "put_count": self.put_count,
            "delete_count": self.cell_count - self.put_count,
            "family_marker_count": self.family_marker_count,
            "has_ttl": self.has_ttl,
            "raw_bytes": self.raw_bytes,
            "first_row": self.first_row,
            "last_row": self.last_row,
            "min_put_timestamp": self.min_put_timestamp,
            "min_timestamp": 0 if empty else self.min_timestamp,
            "max_timestamp": self.max_timestamp,
            "min_sequence_id": 0 if empty else self.min_sequence_id,
            "max_sequence_id": self.max_sequence_id,
        }


def raw_ends(batch: pa.RecordBatch) -> Ints:
    """``result[i]``: bytes of keys and values of the first ``i`` cells; ``len == num_rows + 1``."""
    ends = np.arange(batch.num_rows + 1, dtype=np.int64) * CELL_FIXED_BYTES
    for index in (ROW, QUALIFIER, VALUE, TAGS):
        offsets = offsets_of(batch.column(index))
        ends += offsets
        ends -= int(offsets[0])
    return ends
