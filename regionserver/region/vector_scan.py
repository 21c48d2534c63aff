"""Reading a region a column at a time: the row range is cut into segments, each read on its own.

A segment covers whole rows and about ``SEGMENT_BYTES`` of cells. Its plan needs only block indexes and
MemStore keys, so segments can be read by several threads and still be handed out in order. Where the index
says that one file holds all there is of a family, in blocks of plain puts, the blocks pass straight through;
elsewhere ``vector_merge`` decides what is seen, and where it does not know the rule, the ordinary scanner.

Consistency: all segments of one ``RegionReads`` see one read point, which is held until the last segment
is let go. When flush or compaction replaced the view, the next segment is planned on the new one.
Threads: ``segments`` has one caller; ``Segment.read`` may run anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from hyperbase.common.model import MAX_TIMESTAMP, Result, Scan
from regionserver.region.matcher import FamilyRead
from regionserver.region.reads import ReadPlan, visible_edits
from regionserver.region.region import Region
from regionserver.region.row_batches import cells_batch, row_batches
from regionserver.region.scanner import RegionScanner, ScanRange
from regionserver.region.vector_merge import visible_cells
from regionserver.region.view import RegionView
from regionserver.storage.cells import PUT
from regionserver.storage.memstore import MemStore
from regionserver.storage.store_file import StoreFileReader
from regionserver.storage.store_file_format import FLAG_SIMPLE, QUALIFIER, ROW, TIMESTAMP

SEGMENT_BYTES = 4 * 1024 * 1024
SEGMENT_MEMORY_ROWS = 4096  # rows of one MemStore in one segment


def half_open(scan: Scan) -> tuple[bytes, bytes]:
    """The forward scan's range as ``low <= row < high``; ``b""`` is no bound."""
    low = scan.start if scan.start_inclusive or not scan.start else scan.start + b"\0"
    high = scan.stop + b"\0" if scan.stop and scan.stop_inclusive else scan.stop
    return low, high


def can_vectorise(scan: Scan) -> bool:
    """Whether the rules of this scan are those of ``vector_merge``: no filter, nothing raw or paged."""
    return not (
        scan.filter is not None
        or scan.raw
        or scan.reverse
        or scan.store_limit is not None
        or scan.store_offset
        or scan.versions < 1
    )


@dataclass(frozen=True, slots=True)
class Piece:
    """The visible cells of one family in a segment: batches with StoreFile columns, in store order.

    Every cell is a put. Batches may lack what is known without them: ``shape``, the qualifiers of every row
    when all rows have the same; ``timestamp``, when all cells share it; and what the caller did not ask for.
    """

    read: FamilyRead
    batches: list[pa.RecordBatch]
    shape: tuple[bytes, ...] | None = None
    timestamp: int | None = None


@dataclass(frozen=True, slots=True)
class _BlockRun:
    """Consecutive blocks of one file."""

    family: bytes
    reader: StoreFileReader
    first: int
    last: int


class _Hold:
    """A read point in use until nobody refers to it any more."""

    def __init__(self, region: Region) -> None:
        self._points = region.read_points
        self.point = self._points.hold()

    def __del__(self) -> None:
        self._points.release(self.point)


class RegionReads:
    """One scan over one region. Raises NotServingRegionException when the region closes meanwhile."""

    def __init__(self, region: Region, scan: Scan) -> None:
        region.current_view()  # raises for a closed region
        self.region = region
        self.scan = scan
        self.plan = ReadPlan(scan, region.descriptor, region.name, region.clock())
        self.hold = _Hold(region)

    def segments(self, low: bytes, high: bytes) -> Iterator[Segment]:
        """The region's part of ``low <= row < high``, in key order."""
        info = self.region.info
        low = max(low, info.start_key)
        high = info.end_key if not high or (info.end_key and info.end_key < high) else high
        while not high or low < high:
            view = self.region.current_view()
            cuts = _Cuts(self, view, low, high)
            while self.region.current_view() is view:
                segment = cuts.next_segment()
                if segment is None:
                    return
                if segment.runs or segment.keys:
                    yield segment
                low = segment.high
                if not low:
                    return


class _Cuts:
    """Cuts what is left of a range, on one view, at row boundaries of the largest file."""

    def __init__(self, reads: RegionReads, view: RegionView, low: bytes, high: bytes) -> None:
        self._reads = reads
        self._view = view
        self._low, self._high = low, high
        self._files = [
            (family, reader)
            for family, reader in view.all_files
            if family in reads.plan.family_names and reader.block_count > 0
        ]
        self._memstores = [store for store in view.memstores if store.rows]
        self._rows = self._boundaries()
        self._next = 0
        self._done = False

    def _boundaries(self) -> list[bytes]:
        """Rows at which to cut: about ``SEGMENT_BYTES`` of all files lie between two."""
        if not self._files:
            return []
        _, driver = max(self._files, key=lambda file: file[1].block_count)
        index = driver.index
        begin, end = driver.first_block, driver.last_block + 1
        whole = sum(_raw_share(reader) for _, reader in self._files)
        scale = whole / max(1, sum(index.lengths[begin:end]))
        sizes = np.cumsum(np.array(index.lengths[begin:end], np.float64)) * scale
        wanted = np.arange(SEGMENT_BYTES, sizes[-1] + 1, SEGMENT_BYTES)
        places = np.unique(np.searchsorted(sizes, wanted) + 1) + begin
        rows = []
        for place in places.tolist():
            while place < end and driver.continues(place):
                place += 1
            if place < end:
                rows.append(driver.block_first_rows[place])
        return [row for row in rows if row > self._low and (not self._high or row < self._high)]

    def next_segment(self) -> Segment | None:
        """The next rows; ``None`` at the end of the range."""
        if self._done:
            return None
        low, rows = self._low, self._rows
        while self._next < len(rows) and rows[self._next] <= low:
            self._next += 1
        high = rows[self._next] if self._next < len(rows) else self._high
        keys = []
        for store in self._memstores:
            found = store.keys_between(low, high, SEGMENT_MEMORY_ROWS + 1)
            if len(found) > SEGMENT_MEMORY_ROWS:
                high = found.pop()
            keys.append((store, found))
        held = [(store, [key for key in found if not high or key < high]) for store, found in keys if found]
        runs = [
            _BlockRun(family, reader, *span)
            for family, reader in self._files
            if (span := _blocks_of(reader, low, high)) is not None
        ]
        self._low = high
        self._done = high == self._high
        return Segment(self._reads, self._view, low, high, runs, [pair for pair in held if pair[1]])


def _raw_share(reader: StoreFileReader) -> float:
    """Raw bytes inside the reader's bounds, roughly."""
    return reader.info.raw_bytes * reader.block_count / max(1, reader.info.block_count)


def _blocks_of(reader: StoreFileReader, low: bytes, high: bytes) -> tuple[int, int] | None:
    """First and last block that may hold rows ``low <= row < high``."""
    info = reader.info
    if info.last_row < low or (high and info.first_row >= high):
        return None
    first = reader.find_block(low) if low else reader.first_block
    last = reader.last_block
    if high:
        last = reader.find_block(high)
        if last > first and reader.block_first_rows[last] >= high:
            last -= 1
        elif last == first and reader.block_first_rows[last] >= high:
            return None
    return (first, last) if first <= last else None


@dataclass(slots=True)
class Segment:
    """Rows ``low <= row < high`` of a region: where they are, and how to read them."""

    reads: RegionReads
    view: RegionView
    low: bytes
    high: bytes
    runs: list[_BlockRun]
    keys: list[tuple[MemStore, list[bytes]]]

    def shapes(self) -> list[tuple[FamilyRead, tuple[bytes, ...]]] | None:
        """The qualifiers each family has, when the block indexes alone tell; ``None``: read it."""
        if self.keys:
            return None
        found: list[tuple[FamilyRead, tuple[bytes, ...]]] = []
        for read in self.reads.plan.families:
            runs = [run for run in self.runs if run.family == read.family]
            if not runs:
                continue
            run = runs[0]
            # An edge block may have no row of the range; one that begins inside has its first.
            begins_inside = run.reader.block_first_rows[run.last] >= max(self.low, run.reader.start_row)
            if len(runs) > 1 or not begins_inside or not self._straight(run, read):
                return None
            shape = _one_shape(run)
            if shape is None:
                return None
            found.append((read, shape))
        return found

    def read(self, columns: frozenset[int]) -> list[Piece]:
        """The visible cells, family by family (families without any are left out), ascending by family.

        ``columns``: which of the StoreFile columns are needed; the row always comes.
        """
        pieces = []
        for read in self.reads.plan.families:
            runs = [run for run in self.runs if run.family == read.family]
            if len(runs) == 1 and not self.keys and self._straight(runs[0], read):
                piece: Piece | None = self._pass_through(read, runs[0], columns)
            else:
                piece = self._merge(read, runs)
                if piece is None:
                    return self._read_rows()
            if piece is not None and piece.batches:
                pieces.append(piece)
        return pieces

    def _straight(self, run: _BlockRun, read: FamilyRead) -> bool:
        """The blocks hold plain puts, all of them visible."""
        index, blocks = run.reader.index, slice(run.first, run.last + 1)
        low = max(read.low, read.oldest)
        return (
            read.cap >= 1
            and all(flags & FLAG_SIMPLE for flags in index.flags[blocks])
            and max(index.max_sequence_ids[blocks]) <= self.reads.hold.point
            and min(index.min_timestamps[blocks]) >= low
            and (read.high == MAX_TIMESTAMP or max(index.max_timestamps[blocks]) < read.high)
        )

    def _pass_through(self, read: FamilyRead, run: _BlockRun, columns: frozenset[int]) -> Piece:
        """Blocks as they are, decompressing only what is needed and not known from the index."""
        index, blocks = run.reader.index, slice(run.first, run.last + 1)
        shape = _one_shape(run)
        stamps = {*index.min_timestamps[blocks], *index.max_timestamps[blocks]}
        stamp = stamps.pop() if len(stamps) == 1 else None
        known = {QUALIFIER if shape is not None else ROW, TIMESTAMP if stamp is not None else ROW}
        return Piece(read, self._blocks(run, tuple(sorted({ROW, *(columns - known)}))), shape, stamp)

    def _blocks(self, run: _BlockRun, columns: tuple[int, ...] | None = None) -> list[pa.RecordBatch]:
        """The run's batches, without rows outside the segment and without empty ones."""
        batches = [batch for batch in run.reader.batches(run.first, run.last, columns) if batch.num_rows]
        low, high = self.low, self.high
        while batches and low and batches[0].column(0)[0].as_py() < low:
            begin = cells_below(batches[0], low)
            batches[0] = batches[0].slice(begin)
            if batches[0].num_rows:
                break
            del batches[0]
        while batches and high and batches[-1].column(0)[-1].as_py() >= high:
            batches[-1] = batches[-1].slice(0, cells_below(batches[-1], high))
            if batches[-1].num_rows:
                break
            del batches[-1]
        return batches

    def _merge(self, read: FamilyRead, runs: Sequence[_BlockRun]) -> Piece | None:
        tables: list[Any] = []
        for store, keys in self.keys:
            tables += self._memory_cells(store, keys, read.family)
        for run in runs:
            batches = self._blocks(run)
            if batches:
                tables.append(pa.Table.from_batches(batches))
        if not tables:
            return Piece(read, [])
        merged = visible_cells(tables, read, self.reads.hold.point)
        if merged is None:
            return None
        return Piece(read, [merged] if merged.num_rows else [])

    def _memory_cells(self, store: MemStore, keys: Sequence[bytes], family: bytes) -> list[pa.RecordBatch]:
        """The family's cells of MemStore rows, as one batch (or none)."""
        point = self.reads.hold.point
        rows = ((row, seen) for row in keys if (seen := visible_edits(store.rows[row], point)))
        shapes = self.view.shapes.shapes
        batches = list(row_batches(rows, shapes, family, lambda cells: cells, lambda edit: True))
        return [pa.concat_batches(batches)] if batches else []

    def _read_rows(self) -> list[Piece]:
        """By the ordinary scanner: for rules that only it knows."""
        span = ScanRange(self.reads.scan)
        span.low, span.low_inclusive = self.low, True
        span.high, span.high_inclusive = self.high, False
        scanner = RegionScanner(
            self.reads.plan, self.reads.scan, span, lambda: self.view, self.reads.hold.point
        )
        results: list[Result] = []
        while (chunk := scanner.next_chunk()) is not None:
            results += chunk
        return result_pieces(results, self.reads.plan.families)


def result_pieces(results: Sequence[Result], reads: Sequence[FamilyRead]) -> list[Piece]:
    """Results of ascending rows as pieces (sequence ids are 0: they are known no more)."""
    pieces = []
    for read in reads:
        cut = len(read.prefix)
        cells = [
            (result.row, (name[cut:], -stamp, -PUT, 0, value, 0))
            for result in results
            for name, stamp, value in zip(result.names, result.timestamp_list(), result.values, strict=True)
            if name.startswith(read.prefix)
        ]
        if cells:
            rows, found = zip(*cells, strict=True)
            pieces.append(Piece(read, [cells_batch(rows, found)]))
    return pieces


def _one_shape(run: _BlockRun) -> tuple[bytes, ...] | None:
    """The qualifiers that every row of these blocks has."""
    index = run.reader.index
    ids = set(index.shape_ids[run.first : run.last + 1])
    if len(ids) != 1 or -1 in ids:
        return None
    return index.shapes[ids.pop()]


def cells_below(batch: pa.RecordBatch, row: bytes) -> int:
    """How many cells, from the first one on, belong to rows below ``row``."""
    rows = batch.column(0)
    low, high = 0, int(batch.num_rows)
    while low < high:
        middle = (low + high) // 2
        if rows[middle].as_py() < row:
            low = middle + 1
        else:
            high = middle
    return low
