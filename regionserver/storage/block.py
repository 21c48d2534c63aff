"""Block: some tens of KiB of consecutive cells of a StoreFile, verified and decoded.

``batch`` holds the cells as Arrow columns; the Python lists beside it appear on first use. With the values,
the other lists that a lookup needs are made too, and the batch is let go: it would hold every byte once more.
What lookups rarely ask for (types, sequence ids) stays as packed numbers.

Threads: a block is shared by every reader. Lists are computed before they are published, and what takes the
place of the batch before the batch is gone; two threads may compute the same list, never see half of one.
Nobody may change a list.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from regionserver.storage.cells import PUT, decode_ttl

_BYTES_OBJECT = 33 + 8  # a bytes object beside its bytes, and its place in a list
_INT_OBJECT = 32 + 8
_PACKED = 1 + 8  # a type and a sequence id

Numbers = npt.NDArray[Any]


class Block:
    """Cells of one block; list positions are cell indexes, ``starts[i]:starts[i + 1]`` is ``rows[i]``.

    A boundary block of a half-file reference may hold no cells at all.

    Attributes:
        index: the block's place in its file.
        simple: only puts without tags, and every (row, qualifier) once, counting the blocks before and
            after; a family marker of a row that ``continues`` may still be in the block before.
        uniform: the qualifiers of each row when all rows of a simple block have the same, else None.
        continues: the first row began in the block before.
        min_timestamp, max_timestamp: ms, both included; min is 0 when a family or column delete is here.
        uniform_timestamp: the timestamp of every cell, when there is only one.
        nbytes: memory of the block with the lists a point read makes.
    """

    __slots__ = (
        "_cells",
        "_rest",
        "batch",
        "continues",
        "index",
        "max_sequence_id",
        "max_timestamp",
        "min_timestamp",
        "nbytes",
        "qualifiers",
        "rows",
        "sequence_ids",
        "simple",
        "starts",
        "timestamps",
        "ttls",
        "types",
        "uniform",
        "uniform_timestamp",
        "values",
    )

    batch: pa.RecordBatch | None
    index: int
    simple: bool
    uniform: tuple[bytes, ...] | None
    continues: bool
    min_timestamp: int
    max_timestamp: int
    max_sequence_id: int
    uniform_timestamp: int | None
    nbytes: int
    rows: list[bytes]
    starts: list[int]
    qualifiers: list[bytes]
    timestamps: list[int]
    types: list[int]
    values: list[bytes]
    sequence_ids: list[int]
    ttls: list[int] | None

    def __init__(
        self,
        batch: pa.RecordBatch,
        index: int,
        *,
        simple: bool,
        uniform: tuple[bytes, ...] | None,
        continues: bool,
        min_timestamp: int,
        max_timestamp: int,
        max_sequence_id: int,
    ) -> None:
        self.batch = batch
        self._cells = int(batch.num_rows)
        self._rest: tuple[Numbers, Numbers] | None = None  # types and sequence ids, once the batch is gone
        self.index = index
        self.simple = simple
        self.uniform = uniform
        self.continues = continues
        self.min_timestamp = min_timestamp
        self.max_timestamp = max_timestamp
        self.max_sequence_id = max_sequence_id
        self.uniform_timestamp = min_timestamp if min_timestamp == max_timestamp else None
        self.nbytes = self._estimate(batch)

    def find(self, row: bytes) -> tuple[int, int] | None:
        """The row's cells ``begin <= i < end``, or None."""
        rows = self.rows
        place = bisect_left(rows, row)
        if place < len(rows) and rows[place] == row:
            starts = self.starts
            return starts[place], starts[place + 1]
        return None

    def __len__(self) -> int:
        return self._cells

    def __getattr__(self, name: str) -> Any:
        # Reached only while a slot is empty: a list that exists costs one attribute read.
        if name not in _LAZY:
            raise AttributeError(name)
        batch = self.batch
        if batch is None and name not in ("types", "sequence_ids", "qualifiers", "timestamps"):
            return object.__getattribute__(self, name)  # made by another thread meanwhile
        if name in ("rows", "starts"):
            self._find_rows(batch)
        elif name == "values":
            self._settle(batch)
        else:
            setattr(self, name, _LAZY[name](self, batch))
        return object.__getattribute__(self, name)

    def _settle(self, batch: pa.RecordBatch) -> None:
        """Make what lookups need, pack the rest, let go of the batch."""
        self._find_rows(batch)
        if self.uniform is None:
            self.qualifiers = _qualifiers(self, batch)
        if self.uniform_timestamp is None:
            self.timestamps = _timestamps(self, batch)
        self.ttls = _ttls(self, batch)
        # Copies: a column of the batch would keep all of the batch's bytes.
        self._rest = tuple(batch.column(i).to_numpy(zero_copy_only=False).copy() for i in (3, 5))
        self.values = batch.column(4).to_pylist()
        self.batch = None

    def _find_rows(self, batch: pa.RecordBatch) -> None:
        column = batch.column(0)
        if not len(column):
            self.starts, self.rows = [0], []
            return
        runs = pc.run_end_encode(column)
        starts = runs.run_ends.to_pylist()
        starts.insert(0, 0)
        # ``rows`` last: find() reads it first, and must then see ``starts`` too.
        self.starts = starts
        self.rows = runs.values.to_pylist()

    def _estimate(self, batch: pa.RecordBatch) -> int:
        cells = self._cells
        estimate = batch.column(4).nbytes + cells * (_BYTES_OBJECT + _PACKED)
        if self.uniform is None:
            estimate += batch.column(0).nbytes + batch.column(1).nbytes
            estimate += cells * (_BYTES_OBJECT + _BYTES_OBJECT + _INT_OBJECT)
        else:
            width = max(1, len(self.uniform))
            estimate += batch.column(0).nbytes // width + cells // width * (_BYTES_OBJECT + _INT_OBJECT)
        if self.uniform_timestamp is None:
            estimate += cells * _INT_OBJECT
        # Until somebody looks a row up, the batch is what there is.
        return int(max(estimate, batch.nbytes)) + 1024


def _qualifiers(block: Block, batch: pa.RecordBatch | None) -> list[bytes]:
    if block.uniform is not None:
        return list(block.uniform) * (len(block) // len(block.uniform))
    return block.qualifiers if batch is None else batch.column(1).to_pylist()


def _timestamps(block: Block, batch: pa.RecordBatch | None) -> list[int]:
    if block.uniform_timestamp is not None:
        return [block.uniform_timestamp] * len(block)
    return block.timestamps if batch is None else batch.column(2).to_pylist()


def _types(block: Block, batch: pa.RecordBatch | None) -> list[int]:
    if block.simple:
        return [PUT] * len(block)
    return _numbers(block, batch, 3, 0)


def _sequence_ids(block: Block, batch: pa.RecordBatch | None) -> list[int]:
    return _numbers(block, batch, 5, 1)


def _numbers(block: Block, batch: pa.RecordBatch | None, column: int, place: int) -> list[int]:
    if batch is not None:
        return batch.column(column).to_pylist()  # type: ignore[no-any-return]
    assert block._rest is not None
    return block._rest[place].tolist()  # type: ignore[no-any-return]


def _ttls(block: Block, batch: pa.RecordBatch) -> list[int] | None:
    """TTL of each cell in ms, 0 for none; None when no cell of the block has tags."""
    tags = batch.column(6)
    if block.simple or tags.null_count == len(tags):
        return None
    return [decode_ttl(tag) for tag in tags.to_pylist()]


# What makes each list from the block and, while it has one, its batch.
_LAZY: dict[str, Any] = {
    "rows": None,
    "starts": None,
    "values": None,
    "qualifiers": _qualifiers,
    "timestamps": _timestamps,
    "types": _types,
    "sequence_ids": _sequence_ids,
    "ttls": _ttls,
}
