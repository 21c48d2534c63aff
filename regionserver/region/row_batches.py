"""MemStore rows as record batches: runs of one shape in bulk, the rest cell by cell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, repeat

import numpy as np
import pyarrow as pa

from regionserver.storage.cells import PUT, StoreCell, encode_ttl
from regionserver.storage.edits import Edit, Shape, edit_cells
from regionserver.storage.store_file import SCHEMA

SHORT_RUN = 8  # rows of one shape below which a batch of their own costs more than their cells

RowEdits = tuple[bytes, tuple[Edit, ...]]
Keep = Callable[[list[StoreCell]], list[StoreCell]]


def row_batches(
    rows: Iterable[RowEdits],
    shapes: Sequence[Shape],
    family: bytes,
    keep: Keep,
    is_regular: Callable[[Edit], bool],
) -> Iterator[pa.RecordBatch]:
    """The cells of one family, in order.

    Args:
        rows: ascending, each with its edits, newest first.
        keep: what to keep of the sorted cells of a row that has several edits, or one that is not regular.
        is_regular: the cells of this edit, when it is its row's only one, are kept as they are.
    """
    loose = _LooseCells()
    run: list[tuple[bytes, Edit]] = []
    run_shape = -1

    def end_run() -> Iterator[pa.RecordBatch]:
        if len(run) >= SHORT_RUN:
            yield from loose.take()
            yield from _run_batch(run, shapes[run_shape], family)
        else:
            for row, edit in run:
                loose.add(row, edit_cells(edit, shapes, family))
        run.clear()

    for row, edits in rows:
        edit = edits[0]
        regular = len(edits) == 1 and edit[2] >= 0 and is_regular(edit)
        if run and (not regular or edit[2] != run_shape):
            yield from end_run()
        if regular:
            run_shape = edit[2]
            run.append((row, edit))
        else:
            found = sorted(cell for each in edits for cell in edit_cells(each, shapes, family))
            loose.add(row, keep(found))
    yield from end_run()
    yield from loose.take()


class _LooseCells:
    """Cells gathered one by one until they make a batch."""

    def __init__(self) -> None:
        self._rows: list[bytes] = []
        self._cells: list[StoreCell] = []

    def add(self, row: bytes, cells: Sequence[StoreCell]) -> None:
        self._rows += repeat(row, len(cells))
        self._cells += cells

    def take(self) -> Iterator[pa.RecordBatch]:
        """What was gathered, if anything."""
        if self._cells:
            yield cells_batch(self._rows, self._cells)
            self._rows, self._cells = [], []


def _run_batch(run: Sequence[tuple[bytes, Edit]], shape: Shape, family: bytes) -> Iterator[pa.RecordBatch]:
    span = next(((begin, end) for name, begin, end in shape.families if name == family), None)
    if span is None:
        return
    begin, end = span
    width, count = end - begin, len(run)
    if width == len(shape.names):
        values = list(chain.from_iterable(edit[3] for _, edit in run))
    else:
        values = list(chain.from_iterable(edit[3][begin:end] for _, edit in run))
    rows = pa.array([row for row, _ in run], pa.binary())
    if width > 1:
        rows = rows.take(pa.array(np.repeat(np.arange(count), width)))
    qualifiers = pa.array(shape.qualifiers[begin:end], pa.binary())
    yield pa.RecordBatch.from_arrays(
        [
            rows,
            qualifiers.take(pa.array(np.tile(np.arange(width), count))),
            pa.array(np.repeat(np.array([edit[1] for _, edit in run], np.int64), width)),
            pa.array(np.full(width * count, PUT, np.uint8)),
            pa.array(values, pa.binary()),
            pa.array(np.repeat(np.array([edit[0] for _, edit in run], np.int64), width)),
            pa.nulls(width * count, pa.binary()),
        ],
        schema=SCHEMA,
    )


def cells_batch(rows: Sequence[bytes], cells: Sequence[StoreCell]) -> pa.RecordBatch:
    """Cells, each with its row, as a record batch of the StoreFile schema."""
    tagged = any(cell[5] for cell in cells)
    tags = [encode_ttl(cell[5]) if cell[5] else None for cell in cells] if tagged else None
    return pa.RecordBatch.from_arrays(
        [
            pa.array(rows, pa.binary()),
            pa.array([cell[0] for cell in cells], pa.binary()),
            pa.array([-cell[1] for cell in cells], pa.int64()),
            pa.array([-cell[2] for cell in cells], pa.uint8()),
            pa.array([cell[4] for cell in cells], pa.binary()),
            pa.array([-cell[3] for cell in cells], pa.int64()),
            pa.nulls(len(cells), pa.binary()) if tags is None else pa.array(tags, pa.binary()),
        ],
        schema=SCHEMA,
    )
