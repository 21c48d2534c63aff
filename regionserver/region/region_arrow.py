"""One region's part of a scan as Arrow record batches, with the place where to go on after each.

Scans that ``vector_scan`` knows the rules of are read a column at a time, some segments ahead of the
consumer; others go through the row scanner and their Results become batches of the same form. Values are
the stored bytes; giving columns types is the caller's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa

from hyperbase.client.arrow_layout import CELLS_SCHEMA, columns_of_cells
from hyperbase.common.model import Result, Scan, split_column
from regionserver.region.read_ahead import read_ahead
from regionserver.region.region import Region
from regionserver.region.vector_layout import (
    CELLS_NEED,
    NAMES_NEED,
    WIDE_NEEDS,
    cells_layout,
    count_rows,
    distinct_columns,
    first_rows_end,
    wide_layout,
)
from regionserver.region.vector_scan import RegionReads, Segment, can_vectorise, half_open

VECTOR_LIMIT_ROWS = 2048  # a scan for fewer rows is done before threads have started
_PUT = 4

Column = tuple[bytes, bytes]  # family, qualifier


class ArrowPart(NamedTuple):
    """Some rows; ``next_row`` is where the rest begins (``b""``: nowhere)."""

    batch: pa.RecordBatch
    rows: int
    next_row: bytes


def vectorised(scan: Scan) -> bool:
    """Whether the scan is read a column at a time."""
    return can_vectorise(scan) and (scan.limit is None or scan.limit > VECTOR_LIMIT_ROWS)


def wide_schema(columns: Sequence[Column]) -> pa.Schema:
    """``row`` and one binary column for each ``family:qualifier``."""
    fields = [pa.field("row", pa.binary(), nullable=False)]
    fields += [
        pa.field((family + b":" + qualifier).decode("utf-8", "backslashreplace"), pa.binary())
        for family, qualifier in columns
    ]
    return pa.schema(fields)


def arrow_parts(region: Region, scan: Scan, columns: Sequence[Column] | None) -> Iterator[ArrowPart]:
    """The region's rows: wide, with these columns, or as cells (``None``).

    Raises:
        NotServingRegionException: the region closed; go on in its successors from the last ``next_row``.
    """
    if vectorised(scan):
        parts = _segment_parts(region, scan, columns)
    else:
        parts = _result_parts(region, scan, columns)
    return parts if scan.limit is None else _limited(parts, scan.limit)


def shown_columns(region: Region, scan: Scan) -> set[Column]:
    """Every column that the region's part of the scan shows.

    Blocks whose rows all have the same columns are not read: the index names these.
    """
    found: set[Column] = set()
    if vectorised(scan) and scan.limit is None:
        low, high = half_open(scan)
        for columns in read_ahead(RegionReads(region, scan).segments(low, high), segment_columns):
            found |= columns
        return found
    for part in arrow_parts(region, scan, None):
        found |= columns_of_cells(part.batch)
    return found


def segment_columns(segment: Segment) -> set[Column]:
    """Every column of a segment."""
    shapes = segment.shapes()
    if shapes is None:
        return distinct_columns(segment.read(NAMES_NEED))
    return {
        (read.family, qualifier)
        for read, shape in shapes
        for qualifier in shape
        if read.qualifiers is None or qualifier in read.qualifiers
    }


def _segment_parts(region: Region, scan: Scan, columns: Sequence[Column] | None) -> Iterator[ArrowPart]:
    make: Callable[[Segment], pa.RecordBatch | None]
    if columns is None:

        def make(segment: Segment) -> pa.RecordBatch | None:
            return cells_layout(segment.read(CELLS_NEED))

    else:
        schema = wide_schema(columns)

        def make(segment: Segment) -> pa.RecordBatch | None:
            rows, values = wide_layout(segment.read(WIDE_NEEDS), columns)
            return pa.RecordBatch.from_arrays([rows, *values], schema=schema)

    def work(segment: Segment) -> tuple[pa.RecordBatch | None, bytes]:
        return make(segment), segment.high

    low, high = half_open(scan)
    for batch, next_row in read_ahead(RegionReads(region, scan).segments(low, high), work):
        if batch is not None and batch.num_rows:
            rows = batch.num_rows if columns is not None else count_rows(batch.column(0))
            yield ArrowPart(batch, rows, next_row)


def _result_parts(region: Region, scan: Scan, columns: Sequence[Column] | None) -> Iterator[ArrowPart]:
    schema = None if columns is None else wide_schema(columns)
    scanner = region.open_scanner(scan)
    try:
        while (chunk := scanner.next_chunk()) is not None:
            if not chunk:
                continue
            last = chunk[-1].row
            if columns is None or schema is None:
                batch, rows = result_cells(chunk), len(chunk)
            else:
                batch = result_rows(chunk, columns, schema)
                rows = batch.num_rows
            yield ArrowPart(batch, rows, last if scan.reverse else last + b"\0")
    finally:
        scanner.close()


def _limited(parts: Iterator[ArrowPart], limit: int) -> Iterator[ArrowPart]:
    """Parts until there were ``limit`` row keys."""
    left = limit
    for part in parts:
        if part.rows >= left:
            column = part.batch.column(0)
            yield ArrowPart(part.batch.slice(0, first_rows_end(column, left)), left, b"")
            return
        left -= part.rows
        yield part


def result_cells(results: Sequence[Result]) -> pa.RecordBatch:
    """Results as a batch of ``CELLS_SCHEMA``."""
    rows, names, stamps, types, values = [], [], [], [], []  # type: ignore[var-annotated]
    for result in results:
        rows += [result.row] * len(result.names)
        names += map(split_column, result.names)
        stamps += result.timestamp_list()
        types += result.types or [_PUT] * len(result.names)
        values += result.values
    return pa.RecordBatch.from_arrays(
        [
            pa.array(rows, pa.binary()),
            pa.array([family for family, _ in names], pa.binary()),
            pa.array([qualifier or b"" for _, qualifier in names], pa.binary()),
            pa.array(stamps, pa.int64()),
            pa.array(types, pa.uint8()),
            pa.array(values, pa.binary()),
        ],
        schema=CELLS_SCHEMA,
    )


def result_rows(results: Sequence[Result], columns: Sequence[Column], schema: pa.Schema) -> pa.RecordBatch:
    """Results as a wide batch; those with none of the columns are left out."""
    names = [family + b":" + qualifier for family, qualifier in columns]
    known = set(names)
    found = [(result.row, result.to_dict()) for result in results]
    kept = [(row, data) for row, data in found if not known.isdisjoint(data)]
    arrays = [pa.array([row for row, _ in kept], pa.binary())]
    arrays += [pa.array([data.get(name) for _, data in kept], pa.binary()) for name in names]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
