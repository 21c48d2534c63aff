"""Block: some tens of KiB of consecutive cells of a StoreFile, verified and decoded.

``batch`` holds the cells as Arrow columns; the Python lists beside it appear on first use, column by
column, because a lookup needs rows and values but rarely types or sequence ids.

Threads: a block is shared by every reader. Lists are computed before they are published; two threads
may compute the same list, never see half of one. Nobody may change a list.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from regionserver.storage.cells import PUT, decode_ttl

_BYTES_OBJECT = 33 + 8  # a bytes object beside its bytes, and its place in a list
_INT_OBJECT = 32 + 8


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

    batch: pa.RecordBatch
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
        self.index = index
        self.simple = simple
        self.uniform = uniform
        self.continues = continues
        self.min_timestamp = min_timestamp
        self.max_timestamp = max_timestamp
        self.max_sequence_id = max_sequence_id
        self.uniform_timestamp = min_timestamp if min_timestamp == max_timestamp else None
        self.nbytes = self._estimate()

    def find(self, row: bytes) -> tuple[int, int] | None:
        """The row's cells ``begin <= i < end``, or None."""
        rows = self.rows
        place = bisect_left(rows, row)
        if place < len(rows) and rows[place] == row:
            starts = self.starts
            return starts[place], starts[place + 1]
        return None

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    def __getattr__(self, name: str) -> Any:
        # Reached only while a slot is empty: a list that exists costs one attribute read.
        if name in ("rows", "starts"):
            self._find_rows()
            return getattr(self, name)
        try:
            make = _LAZY[name]
        except KeyError:
            raise AttributeError(name) from None
        made = make(self)
        setattr(self, name, made)
        return made

    def _find_rows(self) -> None:
        column = self.batch.column(0)
        if not len(column):
            self.starts, self.rows = [0], []
            return
        runs = pc.run_end_encode(column)
        starts = runs.run_ends.to_pylist()
        starts.insert(0, 0)
        # ``rows`` last: find() reads it first, and must then see ``starts`` too.
        self.starts = starts
        self.rows = runs.values.to_pylist()

    def _estimate(self) -> int:
        batch = self.batch
        cells = batch.num_rows
        columns = batch.nbytes
        # Values and rows as bytes objects hold about what the columns hold once more.
        estimate = 2 * columns + cells * _BYTES_OBJECT + 1024
        if self.uniform is None:
            estimate += cells * (_BYTES_OBJECT + _BYTES_OBJECT + _INT_OBJECT)
        else:
            estimate += cells * 8 + cells // len(self.uniform) * (_BYTES_OBJECT + _INT_OBJECT)
        if self.uniform_timestamp is None:
            estimate += cells * _INT_OBJECT
        return int(estimate)


def _qualifiers(block: Block) -> list[bytes]:
    if block.uniform is not None:
        return list(block.uniform) * (len(block) // len(block.uniform))
    return block.batch.column(1).to_pylist()  # type: ignore[no-any-return]


def _timestamps(block: Block) -> list[int]:
    if block.uniform_timestamp is not None:
        return [block.uniform_timestamp] * len(block)
    return block.batch.column(2).to_pylist()  # type: ignore[no-any-return]


def _types(block: Block) -> list[int]:
    if block.simple:
        return [PUT] * len(block)
    return block.batch.column(3).to_pylist()  # type: ignore[no-any-return]


def _values(block: Block) -> list[bytes]:
    return block.batch.column(4).to_pylist()  # type: ignore[no-any-return]


def _sequence_ids(block: Block) -> list[int]:
    return block.batch.column(5).to_pylist()  # type: ignore[no-any-return]


def _ttls(block: Block) -> list[int] | None:
    """TTL of each cell in ms, 0 for none; None when no cell of the block has tags."""
    tags = block.batch.column(6)
    if block.simple or tags.null_count == len(tags):
        return None
    return [decode_ttl(tag) for tag in tags.to_pylist()]


_LAZY = {
    "qualifiers": _qualifiers,
    "timestamps": _timestamps,
    "types": _types,
    "values": _values,
    "sequence_ids": _sequence_ids,
    "ttls": _ttls,
}
