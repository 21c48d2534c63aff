"""Scanning a region: sources merged row by row, a row that stands in one source going straight through.

A ``RegionScanner`` reads as of one read point, in chunks. Between chunks it holds no lock; when the
region's view changed meanwhile (flush, compaction) it takes the new one and goes on after its last row,
so an idle scanner keeps neither a frozen MemStore nor a replaced file alive.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from itertools import pairwise

from hyperbase.common.model import Result, Scan
from regionserver.region.reads import (
    BlockSpan,
    ReadPlan,
    full_names,
    row_result,
    visible_edits,
)
from regionserver.region.view import RegionView
from regionserver.storage.edits import Edit
from regionserver.storage.memstore import MemStore
from regionserver.storage.store_file import Block, StoreFileReader

KEY_RUN = 512  # keys copied from a MemStore at a time, under its lock
CHUNK_ROWS = 2048
NO_LIMIT = 2**62
HIDDEN_ROW_BYTES = (
    256  # of a chunk that reading a row takes which shows nothing: about the time of such a row
)


class ScanRange:
    """Where a scan still has to go. ``low``/``high`` are byte order bounds, whatever the direction."""

    __slots__ = ("high", "high_inclusive", "low", "low_inclusive", "reverse")

    def __init__(self, scan: Scan) -> None:
        self.reverse = scan.reverse
        if scan.reverse:
            self.low, self.low_inclusive = scan.stop, scan.stop_inclusive
            self.high, self.high_inclusive = scan.start, scan.start_inclusive
        else:
            self.low, self.low_inclusive = scan.start, scan.start_inclusive
            self.high, self.high_inclusive = scan.stop, scan.stop_inclusive
        if not self.low:
            self.low_inclusive = True

    def clip(self, start_key: bytes, end_key: bytes) -> None:
        """Stay inside a region's bounds."""
        if start_key > self.low:
            self.low, self.low_inclusive = start_key, True
        if end_key and (not self.high or end_key <= self.high):
            self.high, self.high_inclusive = end_key, False

    def move_past(self, row: bytes) -> None:
        """Everything up to ``row`` has been read."""
        if self.reverse:
            self.high, self.high_inclusive = row, False
        else:
            self.low, self.low_inclusive = row, False

    def below_high(self, row: bytes) -> bool:
        return not self.high or row < self.high or (self.high_inclusive and row == self.high)

    def above_low(self, row: bytes) -> bool:
        return row > self.low or (self.low_inclusive and row == self.low)

    @property
    def empty(self) -> bool:
        if not self.high:
            return False
        return self.low > self.high or (
            self.low == self.high and not (self.low_inclusive and self.high_inclusive)
        )


class MemSource:
    """The rows of a MemStore inside a range, a run of keys at a time."""

    __slots__ = ("_keys", "_position", "_range", "_reverse", "_store", "key")

    def __init__(self, store: MemStore, span: ScanRange) -> None:
        self._store = store
        self._reverse = span.reverse
        self._range = span
        self._keys = self._run(span.low, span.low_inclusive, span.high, span.high_inclusive)
        self._position = 0
        self.key: bytes | None = self._keys[0] if self._keys else None

    def _run(self, low: bytes, low_inclusive: bool, high: bytes, high_inclusive: bool) -> list[bytes]:
        return self._store.keys_between(
            low,
            high,
            KEY_RUN,
            start_inclusive=low_inclusive,
            stop_inclusive=high_inclusive,
            reverse=self._reverse,
        )

    def advance(self) -> None:
        self._position += 1
        if self._position < len(self._keys):
            self.key = self._keys[self._position]
            return
        last, span = self._keys[-1], self._range
        if self._reverse:
            self._keys = self._run(span.low, span.low_inclusive, last, False)
        else:
            self._keys = self._run(last, False, span.high, span.high_inclusive)
        self._position = 0
        self.key = self._keys[0] if self._keys else None

    def edits(self, read_point: int) -> tuple[Edit, ...]:
        return visible_edits(self._store.rows[self._keys[self._position]], read_point)


class FileSource:
    """The rows of a StoreFile inside a range, block by block."""

    __slots__ = ("_cache", "_index", "_range", "block", "family", "key", "position", "reader", "reverse")

    def __init__(self, family: bytes, reader: StoreFileReader, span: ScanRange, cache: bool) -> None:
        self.family = family
        self.reader = reader
        self.reverse = span.reverse
        self._range = span
        self._cache = cache
        self.key: bytes | None = None
        self.block: Block | None = None
        self.position = 0
        self._index = reader.first_block
        if reader.last_block >= reader.first_block:
            self._seek_last() if span.reverse else self._seek_first()

    def _load(self, index: int) -> Block:
        self._index = index
        self.block = self.reader.block(index, self._cache)
        return self.block

    def _seek_first(self) -> None:
        span = self._range
        block = self._load(self.reader.find_block(span.low) if span.low else self.reader.first_block)
        find = bisect_left if span.low_inclusive else bisect_right
        self.position = find(block.rows, span.low) - 1 if span.low else -1
        # A row that continues into the next block must not be shown again from there.
        self._step_forward()
        while self.key is not None and not span.above_low(self.key):
            self._step_forward()

    def _step_forward(self) -> None:
        block = self.block
        assert block is not None
        last = block.rows[-1] if block.rows else None
        self.position += 1
        while self.position >= len(block.rows):
            if self._index >= self.reader.last_block:
                self.key = None
                return
            block = self._load(self._index + 1)
            self.position = 0
            while self.position < len(block.rows) and block.rows[self.position] == last:
                self.position += 1
        key = block.rows[self.position]
        self.key = key if self._range.below_high(key) else None

    def _seek_last(self) -> None:
        span = self._range
        index = self.reader.find_block(span.high) if span.high else self.reader.last_block
        # find_block gives the first block that may hold the key; the row may go on in later ones.
        block = self._load(index)
        find = bisect_right if span.high_inclusive else bisect_left
        self.position = find(block.rows, span.high) if span.high else len(block.rows)
        self._step_back()

    def _step_back(self) -> None:
        block = self.block
        assert block is not None
        first = block.rows[0] if block.rows else None  # a reference's first and last block may be empty
        self.position -= 1
        while self.position < 0:
            if self._index <= self.reader.first_block:
                self.key = None
                return
            block = self._load(self._index - 1)
            self.position = len(block.rows) - 1
            while self.position >= 0 and block.rows[self.position] == first:
                self.position -= 1
        key = block.rows[self.position]
        self.key = key if self._range.above_low(key) else None

    def advance(self) -> None:
        if self.reverse:
            self._step_back()
        else:
            self._step_forward()

    @property
    def block_index(self) -> int:
        return self._index

    def skip_to(self, position: int) -> None:
        """Go to the row at ``position`` of the current block (its length: to the next block)."""
        self.position = position - 1
        self._step_forward()

    def spans(self) -> list[BlockSpan]:
        """Every piece of the current row, in cell order, wherever the cursor stands."""
        block, position, row = self.block, self.position, self.key
        assert block is not None
        assert row is not None
        spans: list[BlockSpan] = []
        if position == 0:
            index = self._index
            while index > self.reader.first_block and self.reader.continues(index):
                index -= 1
                earlier = self.reader.block(index, self._cache)
                found = earlier.find(row)
                if found is None:
                    break
                spans.insert(0, (earlier, *found))
                if len(earlier.rows) > 1:
                    break
        spans.append((block, block.starts[position], block.starts[position + 1]))
        if position == len(block.rows) - 1:
            index = self._index + 1
            while index <= self.reader.last_block and self.reader.continues(index):
                later = self.reader.block(index, self._cache)
                found = later.find(row)
                if found is None:
                    break
                spans.append((later, *found))
                if len(later.rows) > 1:
                    break
                index += 1
        return spans


def _overlaps(reader: StoreFileReader, low: bytes, high: bytes) -> bool:
    info = reader.info
    return reader.block_count > 0 and info.last_row >= low and (not high or info.first_row <= high)


Source = MemSource | FileSource


class RegionScanner:
    """A scan over one region, as of the read point at its start. Not thread-safe: one caller at a time."""

    def __init__(
        self,
        plan: ReadPlan,
        scan: Scan,
        span: ScanRange,
        current_view: Callable[[], RegionView],
        read_point: int,
    ) -> None:
        self._plan = plan
        self._scan = scan
        self._range = span
        self._current_view = current_view
        self._read_point = read_point
        self._view: RegionView | None = None
        self._sources: list[Source] = []
        self._done = span.empty
        self.returned_rows = 0

    @property
    def filter_done(self) -> bool:
        """The filter ended the scan."""
        return self._plan.filter is not None and self._plan.filter.filter_all_remaining()

    def _open_sources(self) -> None:
        view = self._current_view()
        if view is self._view:
            return
        self._view = view
        span, plan = self._range, self._plan
        sources: list[Source] = [MemSource(store, span) for store in view.memstores if store.rows]
        low, high = span.low, span.high
        sources += [
            FileSource(family, reader, span, self._scan.cache_blocks)
            for family, reader in view.all_files
            if family in plan.family_names
            and plan.needs_file(family, reader.info)
            and _overlaps(reader, low, high)
        ]
        self._sources = [source for source in sources if source.key is not None]

    def release(self) -> None:
        """Let go of MemStores and files; the next chunk takes them again."""
        self._view, self._sources = None, []

    def next_chunk(self, max_rows: int = CHUNK_ROWS, max_bytes: int = NO_LIMIT) -> list[Result] | None:
        """Up to ``max_rows`` rows or about ``max_result_bytes``; ``None`` at the end of the region.

        Rows that show nothing take of the bytes, too: a chunk may be empty and not the last. ``max_bytes`` is
        for whoever has less time than the scan would grant.
        """
        if self._done:
            return None
        self._open_sources()
        out: list[Result] = []
        budget = min(self._scan.max_result_bytes, max_bytes)
        reverse = self._range.reverse
        plain_bulk = self._plan.plain and not reverse
        while len(out) < max_rows and budget > 0:
            sources = self._sources
            if not sources:
                self._done = True
                break
            first = sources[0]
            if len(sources) == 1:
                bound, others = None, None
            else:
                key = max(s.key for s in sources) if reverse else min(s.key for s in sources)  # type: ignore[type-var]
                holders = [s for s in sources if s.key == key]
                if len(holders) > 1:
                    budget -= self._merge_row(key, holders, out)  # type: ignore[arg-type]
                    if self.filter_done:
                        self._done = True
                        break
                    continue
                first, others = holders[0], sources
                bound = min((s.key for s in others if s is not first), default=None)  # type: ignore[type-var]
            if plain_bulk:
                taken = self._bulk(first, bound, out, max_rows - len(out))
                if taken:
                    budget -= taken
                    continue
            assert first.key is not None
            budget -= self._merge_row(first.key, [first], out)
            if self.filter_done:
                self._done = True
                break
        self.returned_rows += len(out)
        return out if out or not self._done else None

    def _merge_row(self, row: bytes, holders: list[Source], out: list[Result]) -> int:
        """Read one row out of its sources and move them on; returns about how many bytes it was."""
        edits: list[tuple[Edit, ...]] = []
        spans: list[tuple[bytes, BlockSpan]] = []
        for source in holders:
            if isinstance(source, MemSource):
                found = source.edits(self._read_point)
                if found:
                    edits.append(found)
            else:
                spans += [(source.family, span) for span in source.spans()]
        size = HIDDEN_ROW_BYTES
        if edits or spans:
            assert self._view is not None
            result = row_result(self._plan, row, self._view.shapes.shapes, edits, spans, self._read_point)
            if result is not None:
                out.append(result)
                size = 32 + len(row) * len(result.values)
                size += sum(map(len, result.names)) + sum(map(len, result.values))
        self._range.move_past(row)
        exhausted = False
        for source in holders:
            source.advance()
            exhausted = exhausted or source.key is None
        if exhausted:
            self._sources = [source for source in self._sources if source.key is not None]
        return size

    def _bulk(self, source: Source, bound: bytes | None, out: list[Result], room: int) -> int:
        """Rows below ``bound`` straight from one source; 0 when this source's place is not simple."""
        taken = (
            self._bulk_edits(source, bound, out, room)
            if isinstance(source, MemSource)
            else self._bulk_block(source, bound, out, room)
        )
        if taken and source.key is None:
            self._sources = [other for other in self._sources if other is not source]
        return taken

    def _bulk_edits(self, source: MemSource, bound: bytes | None, out: list[Result], room: int) -> int:
        assert self._view is not None
        shapes, read_point = self._view.shapes.shapes, self._read_point
        size = 0
        row = source.key
        while row is not None and room > 0 and (bound is None or row < bound):
            edits = source.edits(read_point)
            if edits:
                edit = self._plan.plain_edit(edits)
                if edit is None:
                    break
                shape = shapes[edit[2]]
                out.append(Result(row, shape.names, edit[3], edit[1]))
                room -= 1
                size += shape.overhead_bytes + sum(map(len, edit[3]))
            size += 32
            self._range.move_past(row)
            source.advance()
            row = source.key
        return size

    def _bulk_block(self, source: FileSource, bound: bytes | None, out: list[Result], room: int) -> int:
        block, position = source.block, source.position
        assert block is not None
        if not block.simple or block.max_sequence_id > self._read_point:
            return 0
        rows = block.rows
        end = len(rows)
        # The last row may go on in the next block: it takes the careful path.
        reader, index = source.reader, source.block_index
        if index < reader.last_block and reader.continues(index + 1):
            end -= 1
        if bound is not None:
            end = min(end, bisect_left(rows, bound, position))
        high = self._range.high
        if high:
            find = bisect_right if self._range.high_inclusive else bisect_left
            end = min(end, find(rows, high, position))
        end = min(end, position + room)
        if end <= position or (position == 0 and reader.continues(index)):
            return 0
        prefix, values, starts = source.family + b":", block.values, block.starts
        stamp, uniform = block.uniform_timestamp, block.uniform
        spans = pairwise(starts[position : end + 1])
        if uniform is not None and stamp is not None:
            names = full_names(prefix, uniform)
            out += [
                Result(row, names, values[a:b], stamp)
                for row, (a, b) in zip(rows[position:end], spans, strict=True)
            ]
        else:
            stamps, qualifiers = block.timestamps, block.qualifiers
            out += [
                Result(
                    row,
                    full_names(prefix, tuple(qualifiers[a:b])),
                    values[a:b],
                    stamps[a:b],
                )
                for row, (a, b) in zip(rows[position:end], spans, strict=True)
            ]
        self._range.move_past(rows[end - 1])
        source.skip_to(end)
        return max(1, block.nbytes * (end - position) // len(rows))
