"""The full check of a StoreFile: reads every block and recomputes all that index and trailer claim."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hyperbase.common.model import CellType
from regionserver.storage.bloom import BloomFilter, column_key
from regionserver.storage.store_file_format import (
    FLAG_CONTINUES,
    FLAG_SIMPLE,
    QUALIFIER,
    ROW,
    SEQUENCE_ID,
    TAGS,
    TIMESTAMP,
    TYPE,
    Trailer,
    corrupt,
)
from regionserver.storage.store_file_totals import Bools, ChunkView, FileTotals, concat, numbers, wide_deletes


def verify_blocks(path: str, trailer: Trailer, read_block: Callable[[int], pa.RecordBatch]) -> None:
    """Check blocks, order, flags, ranges, counts and Bloom filters against the trailer.

    Args:
        read_block: the block's cells, checksum already verified.

    Raises:
        CorruptHFileException: naming file, block and offset.
    """
    check = _Verification(path, trailer, FileTotals(), None, 0)
    for index in range(len(trailer.index)):
        check.block(index, read_block(index))
    for name, value in check.totals.as_dict().items():
        if getattr(trailer.info, name) != value:
            raise corrupt(path, f"its {name} is {value!r}, the trailer says {getattr(trailer.info, name)!r}")


@dataclass(slots=True)
class _Verification:
    path: str
    trailer: Trailer
    totals: FileTotals
    last: pa.RecordBatch | None  # the last cell of the block before
    bloom_at: int  # the filter that covers the current row

    def block(self, index: int, batch: pa.RecordBatch) -> None:
        before = self.last
        seen = None
        if before is not None:
            seen = (before.column(ROW)[0].as_py(), before.column(QUALIFIER)[0].as_py())
        view = ChunkView(batch, seen)
        joined = batch if before is None else concat([before, batch])
        if not ordered(joined).all():
            raise self._fail(index, "its cells are not in order")
        self._check_index(index, view)
        self._check_bloom(index, view)
        self.totals.add(batch, len(view.row_starts))
        self.last = batch.slice(batch.num_rows - 1)

    def _check_index(self, index: int, view: ChunkView) -> None:
        entry = self.trailer.index
        batch = view.batch
        types, stamps = numbers(batch.column(TYPE)), numbers(batch.column(TIMESTAMP))
        lowest = 0 if wide_deletes(types).any() else int(stamps.min())
        flags = entry.flags[index]
        shape = entry.shape_ids[index]
        qualifiers, tags = batch.column(QUALIFIER).to_pylist(), batch.column(TAGS)
        found = {
            "first row": batch.column(ROW)[0].as_py() == entry.first_rows[index],
            "time range": (lowest, int(stamps.max()))
            == (entry.min_timestamps[index], entry.max_timestamps[index]),
            "max sequence id": int(numbers(batch.column(SEQUENCE_ID)).max()) == entry.max_sequence_ids[index],
            "continues flag": bool(flags & FLAG_CONTINUES) is not bool(view.new_row[0]),
            "simple flag": not flags & FLAG_SIMPLE
            or bool(view.new_column.all() and (types == CellType.PUT).all() and tags.null_count == len(tags)),
            "uniform shape": shape < 0
            or qualifiers == list(entry.shapes[shape]) * (len(qualifiers) // len(entry.shapes[shape])),
        }
        for name, holds in found.items():
            if not holds:
                raise self._fail(index, f"its {name} is not what the index says")

    def _check_bloom(self, index: int, view: ChunkView) -> None:
        filters = self.trailer.bloom
        if not filters:
            return
        columns = view.columns(view.batch.num_rows) if self.trailer.info.bloom == "ROWCOL" else None
        rows = view.batch.column(ROW).to_pylist() if columns is None else columns.column(0).to_pylist()
        qualifiers = None if columns is None else columns.column(1).to_pylist()
        for place, row in enumerate(rows):
            bloom = self._filter_of(row)
            held = bloom.may_contain(row)
            if qualifiers is not None:
                held = held and bloom.may_contain(column_key(row, qualifiers[place]))
            if not held:
                raise self._fail(index, f"its row {row!r} is missing in the Bloom filter")

    def _filter_of(self, row: bytes) -> BloomFilter:
        filters = self.trailer.bloom
        while self.bloom_at + 1 < len(filters) and filters[self.bloom_at + 1][0] <= row:
            self.bloom_at += 1
        return filters[self.bloom_at][1]

    def _fail(self, index: int, what: str) -> Exception:
        return corrupt(self.path, what, block=index, offset=self.trailer.index.offsets[index])


def ordered(batch: pa.RecordBatch) -> Bools:
    """``result[i]``: cell ``i`` may stand before cell ``i + 1`` in store order."""
    count = batch.num_rows
    if count < 2:
        return np.ones(0, np.bool_)
    result: Bools = np.ones(count - 1, np.bool_)
    # From the least significant part of the key to the most: greater decides, equal passes on.
    for column, descending in (
        (SEQUENCE_ID, True),
        (TYPE, True),
        (TIMESTAMP, True),
        (QUALIFIER, False),
        (ROW, False),
    ):
        left, right = batch.column(column).slice(0, count - 1), batch.column(column).slice(1)
        if descending:
            left, right = right, left
        less = pc.less(left, right).to_numpy(zero_copy_only=False)
        equal = pc.equal(left, right).to_numpy(zero_copy_only=False)
        result = less | (equal & result)
    return result
