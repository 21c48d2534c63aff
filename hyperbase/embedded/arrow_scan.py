"""A table's scan as a stream of Arrow record batches.

Without filter, reversal, paging or raw cells the regions are read a column at a time
(``regionserver.region.vector_scan``), two threads ahead of the consumer; other scans go through the
ordinary scanner and their Results become batches of the same form.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from hyperbase.client.arrow_layout import CELLS_SCHEMA, WideColumns, check_cells, check_wide, columns_of_cells
from hyperbase.common.errors import NotServingRegionException
from hyperbase.common.model import Result, Scan
from hyperbase.embedded.store import EmbeddedStore
from hyperbase.embedded.table import EmbeddedTable
from regionserver.region.read_ahead import read_ahead
from regionserver.region.region_arrow import (
    result_cells,
    result_rows,
    segment_columns,
    vectorised,
    wide_schema,
)
from regionserver.region.vector_layout import (
    CELLS_NEED,
    WIDE_NEEDS,
    cells_layout,
    count_rows,
    first_rows_end,
    wide_layout,
)
from regionserver.region.vector_scan import RegionReads, Segment, half_open

Batches = Iterator[pa.RecordBatch]


def scan_arrow(
    store: EmbeddedStore,
    table: str,
    scan: Scan,
    layout: str,
    types: Mapping[bytes, str],
    columns: Sequence[bytes] | None,
) -> pa.RecordBatchReader:
    """See ``Table.scan_arrow``.

    Args:
        layout: ``"wide"`` or ``"cells"``.
        types: of wide columns, by ``family:qualifier``.
        columns: of the wide layout, in order; ``None``: a first pass over the scan's range finds them.

    Raises:
        IllegalArgumentException: an unknown type, types of cells, a raw scan in the wide layout; while
            reading, a value that is not of its column's type.
    """
    store.enabled_entry(table)
    source = _Source(store, table, copy.copy(scan))
    source.scan.batch = None  # a row of Results in parts is a row
    if layout == "cells":
        check_cells(types)
        return pa.RecordBatchReader.from_batches(CELLS_SCHEMA, source.cells())
    check_wide(scan)
    if source.scan.filter is None:
        source.scan.versions = min(source.scan.versions, 1)
    wide = WideColumns.of(columns if columns is not None else source.find_columns(), types)
    if columns is None and wide.columns and source.scan.filter is None:
        source.scan.columns = tuple(wide.columns)  # what is written meanwhile under new names is not shown
    return pa.RecordBatchReader.from_batches(wide.schema, source.wide(wide))


def _segment_batch(wide: WideColumns, segment: Segment) -> pa.RecordBatch:
    return wide.batch(*wide_layout(segment.read(WIDE_NEEDS), wide.columns))


def _result_batch(wide: WideColumns, results: Sequence[Result]) -> pa.RecordBatch:
    """Results as a batch; those with none of the columns are left out."""
    rows, *values = result_rows(results, wide.columns, wide_schema(wide.columns)).columns
    return wide.batch(rows, values)


@dataclass(frozen=True, slots=True)
class _Source:
    """Where the batches come from."""

    store: EmbeddedStore
    table: str
    scan: Scan

    @property
    def _vectorised(self) -> bool:
        return vectorised(self.scan)

    def cells(self) -> Batches:
        """Batches of ``CELLS_SCHEMA``."""
        if not self._vectorised:
            return (result_cells(chunk) for chunk in self._results())
        batches = read_ahead(self._segments(), lambda segment: cells_layout(segment.read(CELLS_NEED)))
        return _limited(batches, self.scan.limit)

    def wide(self, wide: WideColumns) -> Batches:
        """Batches of ``wide.schema``."""
        if not wide.columns:
            return iter(())
        if not self._vectorised:
            return _filled(map(partial(_result_batch, wide), self._results()))
        return _limited(read_ahead(self._segments(), partial(_segment_batch, wide)), self.scan.limit)

    def find_columns(self) -> list[bytes]:
        """Every ``family:qualifier`` that the scan shows, sorted: one more pass over the range.

        Blocks whose rows all have the same columns are not read: the index names these.
        """
        found: set[tuple[bytes, bytes]] = set()
        if self._vectorised and self.scan.limit is None:
            for columns in read_ahead(self._segments(), segment_columns):
                found |= columns
        else:
            for batch in self.cells():
                found |= columns_of_cells(batch)
        return [family + b":" + qualifier for family, qualifier in sorted(found)]

    def _results(self) -> Iterator[list[Result]]:
        return (chunk for chunk in EmbeddedTable(self.store, self.table).scan(self.scan) if chunk)

    def _segments(self) -> Iterator[Segment]:
        """The segments of all regions, in key order; goes on where a region that closed had got to."""
        store, table = self.store, self.table
        low, high = half_open(self.scan)
        while not high or low < high:
            entry = store.enabled_entry(table)
            region = entry.region_of(low)
            try:
                for segment in RegionReads(region, self.scan).segments(low, high):
                    yield segment
                    low = segment.high
            except NotServingRegionException as error:
                if store.tables.get(table) is entry:
                    store.wait_for_change(table, entry, error)
                continue
            low = region.info.end_key
            if not low:
                return


def _filled(batches: Iterable[pa.RecordBatch | None]) -> Batches:
    return (batch for batch in batches if batch is not None and batch.num_rows)


def _limited(batches: Iterator[pa.RecordBatch | None], limit: int | None) -> Batches:
    """Batches with rows, until ``limit`` row keys; ``batches`` is closed whatever happens."""
    left = limit
    try:
        for batch in _filled(batches):
            if left is not None:
                rows = count_rows(batch.column(0))
                if rows >= left:
                    yield batch.slice(0, first_rows_end(batch.column(0), left))
                    return
                left -= rows
            yield batch
    finally:
        close = getattr(batches, "close", None)
        if close is not None:
            close()
