"""Reading one row: a query compiled against a table's schema, and the row built from its sources.

``ReadPlan`` is what Get and Scan become. ``row_result`` takes the pieces of a row found in MemStores and
StoreFiles and returns what the query shows of it. Plain queries (newest version of every column, no
filter, no TTL) over a row with one piece never look at single cells.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Container, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import repeat

from hyperbase.common.descriptors import ColumnFamilyDescriptor, TableDescriptor
from hyperbase.common.errors import (
    DoNotRetryIOException,
    IncompatibleFilterException,
    NoSuchColumnFamilyException,
)
from hyperbase.common.filters import Filter, resolve_filter
from hyperbase.common.model import MAX_TIMESTAMP, KeyValue, Query, Result, Scan, TimeRange
from regionserver.region.matcher import NO_EXPIRY, FamilyRead, apply_filter, visible_cells
from regionserver.region.mvcc import ReadPoints
from regionserver.region.view import RegionView
from regionserver.storage.cells import PUT, StoreCell
from regionserver.storage.edits import Edit, Shape, edit_cells
from regionserver.storage.store_file import Block, StoreFileInfo, StoreFileReader

FOREVER_SECONDS = 2**31 - 1
REMEMBERED_COLUMNS = 64  # rows with more columns: their names are made anew, not kept in memory

# A piece of a row in a StoreFile: block, first cell, last cell + 1.
BlockSpan = tuple[Block, int, int]


def now_ms() -> int:
    """The wall clock in milliseconds."""
    return time.time_ns() // 1_000_000


class ReadPlan:
    """A query bound to a schema. ``filter`` is the plan's own copy: filters hold state."""

    __slots__ = (
        "families",
        "family_names",
        "filter",
        "has_filter_row",
        "newest_only",
        "plain",
        "raw",
        "spans",
        "store_limit",
        "store_offset",
        "versions",
    )

    def __init__(
        self, query: Query, descriptor: TableDescriptor, region_name: str, now: int | None = None
    ) -> None:
        self.raw = isinstance(query, Scan) and query.raw
        self.versions = query.versions
        self.filter: Filter | None = None
        if query.filter is not None:
            self.filter = copy.deepcopy(resolve_filter(query.filter))
            if self.filter is not None and isinstance(query, Scan):
                self.filter.set_reversed(query.reverse)
        self.has_filter_row = self.filter is not None and self.filter.has_filter_row()
        if isinstance(query, Scan) and query.batch is not None and self.has_filter_row:
            raise IncompatibleFilterException(
                "Cannot set batch on a scan using a filter that returns true for filter.hasFilterRow"
            )
        self.store_limit = query.store_limit
        self.store_offset = query.store_offset
        wanted = _wanted_columns(query, descriptor, region_name)
        if self.raw and any(qualifiers is not None for qualifiers in wanted.values()):
            raise DoNotRetryIOException("Cannot specify any column for a raw scan")
        moment = now_ms() if now is None else now
        self.families = [
            self._family_read(descriptor.family(name), qualifiers, query, moment)
            for name, qualifiers in sorted(wanted.items())
        ]
        self.family_names = frozenset(wanted)
        self.spans = {read.family: span for read in self.families if (span := _time_span(read)) is not None}
        self.plain = (
            self.versions >= 1
            and self.filter is None
            and not self.raw
            and self.store_limit is None
            and not self.store_offset
            and all(_is_plain(read) for read in self.families)
            and len(wanted) == len(descriptor.families)
        )
        self.newest_only = all(read.cap == 1 for read in self.families)

    def move_to(self, now: int) -> None:
        """Use a plain plan again at a later time: only the TTL of single cells looks at it."""
        for read in self.families:
            read.now_ms = now

    def plain_edit(self, edits: tuple[Edit, ...]) -> Edit | None:
        """The edit that alone says what a plain plan shows of a row in memory, if there is one."""
        return newest_regular(edits) if self.newest_only or len(edits) == 1 else None

    def needs_file(self, family: bytes, info: StoreFileInfo) -> bool:
        """The file may hold something the query shows, or a marker that masks it, by its time range."""
        span = self.spans.get(family)
        if span is None:
            return True
        return info.max_timestamp >= span[0] and (info.min_timestamp < span[1] or span[1] == MAX_TIMESTAMP)

    def _family_read(
        self, schema: ColumnFamilyDescriptor, qualifiers: frozenset[bytes] | None, query: Query, now: int
    ) -> FamilyRead:
        span: TimeRange | None = (query.family_time_ranges or {}).get(schema.name, query.time_range)
        forever = schema.time_to_live >= FOREVER_SECONDS or self.raw
        if self.raw:
            cap = query.versions
        elif self.filter is not None and not schema.new_version_behavior:
            cap = schema.max_versions  # the versions asked for are counted behind the filter
        else:
            cap = min(query.versions, schema.max_versions)
        return FamilyRead(
            family=schema.name,
            prefix=schema.name + b":",
            qualifiers=qualifiers,
            cap=cap,
            low=span.min_timestamp if span else 0,
            high=span.max_timestamp if span else MAX_TIMESTAMP,
            min_versions=schema.min_versions,
            oldest=NO_EXPIRY if forever else now - schema.time_to_live * 1000,
            now_ms=now,
            see_past_markers=schema.keep_deleted_cells != "FALSE",
            new_version_behavior=schema.new_version_behavior,
            schema_versions=schema.max_versions,
            raw=self.raw,
        )


def _time_span(read: FamilyRead) -> tuple[int, int] | None:
    """Timestamps outside which a file of the family cannot matter; ``None``: all may."""
    if read.new_version_behavior:
        return None  # versions outside the time range count
    low = max(read.low, read.oldest if read.min_versions <= 0 else 0)
    return None if low <= 0 and read.high == MAX_TIMESTAMP else (low, read.high)


def _is_plain(read: FamilyRead) -> bool:
    return (
        read.qualifiers is None
        and read.cap >= 1
        and read.low == 0
        and read.high == MAX_TIMESTAMP
        and read.oldest == NO_EXPIRY
        and not read.new_version_behavior
    )


def _wanted_columns(
    query: Query, descriptor: TableDescriptor, region_name: str
) -> dict[bytes, frozenset[bytes] | None]:
    """Families to read and their qualifiers (``None``: all). The last mention of a family wins."""
    wanted: dict[bytes, frozenset[bytes] | None] = {}
    if query.columns is None:
        return dict.fromkeys(descriptor.family_names)
    for family, qualifier in query.columns:
        if family not in descriptor.family_names:
            raise NoSuchColumnFamilyException(
                f"Column family {family.decode('utf-8', 'backslashreplace')} does not exist in region "
                f"{region_name} in table {descriptor.name}: its families are "
                + ", ".join(name.decode("utf-8", "backslashreplace") for name in descriptor.family_names)
            )
        if qualifier is None:
            wanted[family] = None
        else:
            known = wanted.get(family)
            wanted[family] = (known or frozenset()) | {qualifier}
    return wanted


def full_names(prefix: bytes, qualifiers: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """``family:qualifier`` for each qualifier."""
    if len(qualifiers) <= REMEMBERED_COLUMNS:
        return _remembered_names(prefix, qualifiers)
    return tuple(prefix + qualifier for qualifier in qualifiers)


@lru_cache(maxsize=4096)
def _remembered_names(prefix: bytes, qualifiers: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return tuple(prefix + qualifier for qualifier in qualifiers)


def row_spans(reader: StoreFileReader, row: bytes, cache: bool = True, load: bool = True) -> list[BlockSpan]:
    """Where a StoreFile holds the row: one span, more when the row is larger than a block.

    Raises:
        BlockNotCachedError: without ``load``, and a block is not in the cache.
    """
    spans: list[BlockSpan] = []
    index = reader.find_block(row)
    while index < reader.last_block + 1:
        block = reader.block(index, cache, load=load)
        found = block.find(row)
        if found is not None:
            spans.append((block, *found))
        if block.rows and block.rows[-1] > row:
            break
        index += 1
        if index <= reader.last_block and reader.block_first_rows[index] > row:
            break
    return spans


def span_cells(
    span: BlockSpan, read_point: int, qualifiers: Container[bytes] | None = None
) -> Iterator[StoreCell]:
    """The cells of a span that a reader at ``read_point`` may see, one by one.

    With ``qualifiers``, puts of other columns are left out.
    """
    block, begin, end = span
    ttls = block.ttls
    cells = zip(
        block.qualifiers[begin:end],
        block.timestamps[begin:end],
        block.types[begin:end],
        block.sequence_ids[begin:end],
        block.values[begin:end],
        repeat(0) if ttls is None else ttls[begin:end],
        strict=False,
    )
    if block.max_sequence_id > read_point:
        return (
            (qualifier, -timestamp, -kind, -sequence_id, value, ttl)
            for qualifier, timestamp, kind, sequence_id, value, ttl in cells
            if sequence_id <= read_point and (qualifiers is None or kind != PUT or qualifier in qualifiers)
        )
    if qualifiers is not None:
        return (
            (qualifier, -timestamp, -kind, -sequence_id, value, ttl)
            for qualifier, timestamp, kind, sequence_id, value, ttl in cells
            if qualifier in qualifiers or kind != PUT
        )
    return (
        (qualifier, -timestamp, -kind, -sequence_id, value, ttl)
        for qualifier, timestamp, kind, sequence_id, value, ttl in cells
    )


def visible_edits(edits: tuple[Edit, ...], read_point: int) -> tuple[Edit, ...]:
    """The edits a reader at ``read_point`` sees (edits are newest first)."""
    if edits[0][0] <= read_point:
        return edits
    for index, edit in enumerate(edits):
        if edit[0] <= read_point:
            return edits[index:]
    return ()


def newest_regular(edits: tuple[Edit, ...]) -> Edit | None:
    """The edit that alone says what the newest version of the row is, if there is one."""
    first = edits[0]
    if first[2] < 0:
        return None
    for edit in edits[1:]:
        if edit[2] != first[2] or edit[1] > first[1]:
            return None
    return first


def plain_edit_result(row: bytes, edit: Edit, shape: Shape) -> Result:
    """The row of a regular edit, nothing copied."""
    return Result(row, shape.names, edit[3], edit[1])


def plain_span_result(row: bytes, prefix: bytes, span: BlockSpan) -> Result:
    """The row of one span of a simple block."""
    block, begin, end = span
    uniform = block.uniform
    names = full_names(prefix, uniform if uniform is not None else tuple(block.qualifiers[begin:end]))
    stamp = block.uniform_timestamp
    return Result(
        row,
        names,
        block.values[begin:end],
        stamp if stamp is not None else block.timestamps[begin:end],
    )


def _plain_families_result(
    row: bytes, spans: Sequence[tuple[bytes, BlockSpan]], read_point: int
) -> Result | None:
    """The row of simple spans, one of each family in family order; ``None`` when they are not that."""
    names: tuple[bytes, ...] = ()
    values: list[bytes] = []
    stamps: list[int] = []
    before = b""
    for family, (block, begin, end) in spans:
        if family <= before or not block.simple or block.max_sequence_id > read_point:
            return None
        before = family
        uniform = block.uniform
        names += full_names(
            family + b":", uniform if uniform is not None else tuple(block.qualifiers[begin:end])
        )
        values += block.values[begin:end]
        stamp = block.uniform_timestamp
        stamps += [stamp] * (end - begin) if stamp is not None else block.timestamps[begin:end]
    return Result(row, names, values, stamps)


def row_result(
    plan: ReadPlan,
    row: bytes,
    shapes: Sequence[Shape],
    edits: Sequence[tuple[Edit, ...]],
    spans: Sequence[tuple[bytes, BlockSpan]],
    read_point: int,
) -> Result | None:
    """What the plan shows of a row, or ``None``.

    ``edits`` are the row's edits in each MemStore that has some, already visible at ``read_point``;
    ``spans`` its pieces in StoreFiles, by family.
    """
    if plan.plain:
        if not spans and len(edits) == 1:
            edit = plan.plain_edit(edits[0])
            if edit is not None:
                return plain_edit_result(row, edit, shapes[edit[2]])
        elif not edits and len(spans) == 1:
            family, span = spans[0]
            if span[0].simple and span[0].max_sequence_id <= read_point:
                return plain_span_result(row, family + b":", span)
        elif not edits and (result := _plain_families_result(row, spans, read_point)) is not None:
            return result
    return _resolve_row(plan, row, shapes, edits, spans, read_point)


def _family_cells(
    read: FamilyRead,
    shapes: Sequence[Shape],
    edits: Sequence[tuple[Edit, ...]],
    spans: Sequence[tuple[bytes, BlockSpan]],
    read_point: int,
) -> Iterable[StoreCell]:
    """The cells of a family in cell order; lazily when they stand in one source."""
    family = read.family
    own = [span for name, span in spans if name == family]
    if not edits and len(own) == 1:
        return span_cells(own[0], read_point, read.qualifiers)
    cells: list[StoreCell] = []
    sources = 0
    for group in edits:
        for edit in group:
            found = edit_cells(edit, shapes, family)
            if found:
                sources += 1
                cells += found
    for span in own:
        sources += 1
        cells += span_cells(span, read_point, read.qualifiers)
    if sources > 1:
        cells.sort()
    return cells


def _resolve_row(
    plan: ReadPlan,
    row: bytes,
    shapes: Sequence[Shape],
    edits: Sequence[tuple[Edit, ...]],
    spans: Sequence[tuple[bytes, BlockSpan]],
    read_point: int,
) -> Result | None:
    filter = plan.filter
    if filter is not None:
        return _filtered_row(plan, filter, row, shapes, edits, spans, read_point)
    names: list[bytes] = []
    cells: list[StoreCell] = []
    for read in plan.families:
        found = list(visible_cells(_family_cells(read, shapes, edits, spans, read_point), read))
        if plan.store_limit is not None or plan.store_offset:
            found = _page(found, plan)
        prefix = read.prefix
        names += [prefix + cell[0] for cell in found]
        cells += found
    if not cells:
        return None
    return Result(
        row,
        names,
        [cell[4] for cell in cells],
        [-cell[1] for cell in cells],
        [-cell[2] for cell in cells] if plan.raw else None,
    )


def _page(cells: list[StoreCell], plan: ReadPlan) -> list[StoreCell]:
    begin = plan.store_offset
    return cells[begin:] if plan.store_limit is None else cells[begin : begin + plan.store_limit]


def _filtered_row(
    plan: ReadPlan,
    filter: Filter,
    row: bytes,
    shapes: Sequence[Shape],
    edits: Sequence[tuple[Edit, ...]],
    spans: Sequence[tuple[bytes, BlockSpan]],
    read_point: int,
) -> Result | None:
    """One row through a filter, in the order HBase calls it."""
    if filter.filter_all_remaining() or filter.filter_row_key(row):
        filter.reset()
        return None
    passed: list[KeyValue] = []
    for read in plan.families:
        cells = visible_cells(_family_cells(read, shapes, edits, spans, read_point), read)
        found = apply_filter(row, read.family, cells, filter, plan.versions)
        if plan.store_limit is not None or plan.store_offset:
            end = None if plan.store_limit is None else plan.store_offset + plan.store_limit
            found = found[plan.store_offset : end]
        passed += found
    empty = not passed
    if plan.has_filter_row:
        passed = filter.filter_row_cells(passed)
        excluded = bool(passed) and filter.filter_row()
    else:
        excluded = not empty and filter.filter_row()
    result = None
    if passed and not empty and not excluded:
        result = Result(
            row,
            [cell.family + b":" + cell.qualifier for cell in passed],
            [cell.value for cell in passed],
            [cell.timestamp for cell in passed],
            [cell.type for cell in passed] if plan.raw else None,
        )
    filter.reset()
    return result


def read_row(
    plan: ReadPlan, view: RegionView, row: bytes, points: ReadPoints, load: bool = True
) -> Result | None:
    """The row as the plan shows it, or ``None``: a point read over every source of the view.

    Without ``load`` it raises BlockNotCachedError where it would have to read a file.

    The read point is taken after the edits: a point read holds no read point, and a hot row's edits may
    be folded up to the current one at any time.
    """
    found = [group for memstore in view.memstores if (group := memstore.rows.get(row)) is not None]
    read_point = points.current
    edits = [visible for each in found if (visible := visible_edits(each, read_point))]
    spans: list[tuple[bytes, BlockSpan]] = []
    for family, reader in view.all_files:
        if family not in plan.family_names:
            continue
        if plan.spans and not plan.needs_file(family, reader.info):
            points.time_range_skips += 1
        elif not reader.may_contain(row):
            points.key_skips += 1
        else:
            spans += [(family, span) for span in row_spans(reader, row, load=load)]
    if not edits and not spans:
        return None
    return row_result(plan, row, view.shapes.shapes, edits, spans, read_point)
