"""Merging sorted runs of cells a column at a time: what ``matcher`` decides cell by cell, for whole batches.

The inputs hold cells of one family, each sorted in store order (row and qualifier ascending; timestamp,
type and sequence id descending) and each complete for its rows, as cut by a key-aligned chunk. Rows are
put in order first and moved as whole runs; only rows that more than one input holds have their cells
sorted. Masks then say which cells stay, and one gather copies the survivors.

Rare rules (family-version markers, KEEP_DELETED_CELLS, MIN_VERSIONS, edits newer than the read point,
NEW_VERSION_BEHAVIOR) concern few rows: those go through ``compact_row`` one by one, so there is one
definition of what they mean, and only its verdict is merged back.

Bounds: the inputs of one call together stay under 2 GiB in every column (32-bit Arrow offsets); memory
is about three times the raw bytes. Functions are pure and free of shared state; Arrow and numpy release
the GIL in the heavy steps.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hyperbase.common.model import MAX_TIMESTAMP
from regionserver.region.matcher import FamilyRead, StorePolicy, compact_row
from regionserver.storage.cells import (
    DELETE,
    DELETE_COLUMN,
    DELETE_FAMILY,
    DELETE_FAMILY_VERSION,
    PUT,
    StoreCell,
    decode_ttl,
    encode_ttl,
)

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

_TAG_HEADER = encode_ttl(0)[:3]
_TAG_SIZE = len(encode_ttl(0))


def merge_tables(tables: Sequence[Any], policy: StorePolicy) -> pa.RecordBatch:
    """What a flush or compaction keeps of the cells in ``tables``, sorted.

    Args:
        tables: at least one ``pa.Table`` or ``pa.RecordBatch`` with the StoreFile columns, each sorted.
        policy: as for ``compact_row``, whose result for every row this equals.
    """
    inputs = _in_order(tables)
    if not policy.new_version_behavior:
        inputs = [_without_expired_tags(batch, policy.now_ms) for batch in inputs]
    view = _arrange(inputs)
    if view is None:
        return _nothing(tables)
    keep = _kept_by_policy(view, policy)
    return view.select(keep)


def visible_cells(
    tables: Sequence[Any], read: FamilyRead, read_point: int = MAX_TIMESTAMP
) -> pa.RecordBatch | None:
    """The puts a read shows of the cells in ``tables``, sorted, before its filter; markers are applied.

    ``None``: rules are involved that only ``matcher.visible_cells`` knows, row by row (raw reads,
    NEW_VERSION_BEHAVIOR or MIN_VERSIONS where they matter, family-version markers).
    """
    if read.raw:
        return None
    view = _arrange(
        [_without_expired_tags(_written_by(batch, read_point), read.now_ms) for batch in _in_order(tables)]
    )
    if view is None:
        return _nothing(tables)
    if read.new_version_behavior and not view.plain:
        return None
    if read.min_versions > 0 and bool((view.timestamps < read.oldest).any()):
        return None
    if view.has_markers and bool(_matcher_rows(view).any()):
        return None
    keep = _shown_by_read(view, read)
    if read.qualifiers is not None:
        keep &= _in_qualifiers(view, read)
    return view.select(keep)


@dataclass(slots=True)
class _View:
    """Cells in store order: ``order[i]`` is the position in ``batch`` of cell ``i`` (``None``: itself)."""

    batch: pa.RecordBatch
    order: Ints | None
    new_row: Bools  # cell i starts a row
    new_column: Bools  # cell i starts a column of a row
    timestamps: Ints
    types: npt.NDArray[np.uint8]
    has_markers: bool
    plain: bool  # puts only, one version of every column

    def __len__(self) -> int:
        return len(self.new_row)

    def numbers(self, name: str) -> npt.NDArray[Any]:
        values = _numbers(self.batch, name)
        return values if self.order is None else values[self.order]

    def column(self, name: str, positions: Ints) -> list[Any]:
        """Values of one column at ``positions`` of the view, as Python objects."""
        places = positions if self.order is None else self.order[positions]
        values: list[Any] = self.batch.column(name).take(pa.array(places)).to_pylist()
        return values

    def select(self, keep: Bools) -> pa.RecordBatch:
        """The cells with ``keep``, copied once; the input itself when nothing moves or goes."""
        if keep.all():
            return self.batch if self.order is None else self.batch.take(pa.array(self.order))
        if self.order is None:
            return self.batch.filter(pa.array(keep))
        return self.batch.take(pa.array(self.order[keep]))


# --- bringing cells into order ------------------------------------------------------------------------


def _in_order(tables: Sequence[Any]) -> list[pa.RecordBatch]:
    """One batch for each input that has cells, by first row."""
    inputs = []
    for table in tables:
        batches = table.to_batches() if isinstance(table, pa.Table) else [table]
        if filled := [batch for batch in batches if batch.num_rows]:
            inputs.append(filled[0] if len(filled) == 1 else pa.concat_batches(filled))
    return sorted(inputs, key=lambda batch: bytes(batch.column("row")[0].as_py()))


def _nothing(tables: Sequence[Any]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema=tables[0].schema)


def _written_by(batch: pa.RecordBatch, read_point: int) -> pa.RecordBatch:
    sequence_ids = _numbers(batch, "sequence_id")
    if int(sequence_ids.max()) <= read_point:
        return batch
    return batch.filter(pa.array(sequence_ids <= read_point))


def _newest(batch: pa.RecordBatch) -> tuple[int, int]:
    return int(_numbers(batch, "timestamp").max()), int(_numbers(batch, "sequence_id").max())


def _numbers(batch: pa.RecordBatch, name: str) -> npt.NDArray[Any]:
    values: npt.NDArray[Any] = batch.column(name).to_numpy(zero_copy_only=True)
    return values


def _changes(column: pa.Array) -> Bools:
    """True where a value differs from the one before it; true at 0."""
    out = np.ones(len(column), dtype=np.bool_)
    if len(column) > 1:
        differs = pc.not_equal(column.slice(1), column.slice(0, len(column) - 1))
        out[1:] = differs.to_numpy(zero_copy_only=False)
    return out


def _arrange(inputs: list[pa.RecordBatch]) -> _View | None:
    """The cells of the inputs, which come by first row, in store order; ``None`` when there are none."""
    inputs = [batch for batch in inputs if batch.num_rows]
    if not inputs:
        return None
    disjoint = all(
        one.column("row")[-1].as_py() < two.column("row")[0].as_py()
        for one, two in itertools.pairwise(inputs)
    )
    if not disjoint:  # newest first is mostly the order that the versions of a column need
        inputs.sort(key=_newest, reverse=True)
    batch = inputs[0] if len(inputs) == 1 else pa.concat_batches(inputs)
    new_row = _changes(batch.column("row"))
    new_column = _changes(batch.column("qualifier"))
    new_column |= new_row
    order: Ints | None = None
    if not disjoint:
        new_row[np.cumsum([each.num_rows for each in inputs[:-1]])] = True
        order, new_row, new_column = _sort(batch, new_row, new_column)
    timestamps, types = _numbers(batch, "timestamp"), _numbers(batch, "type")
    if order is not None:
        timestamps, types = timestamps[order], types[order]
    has_markers = bool((types != PUT).any())
    return _View(
        batch=batch,
        order=order,
        new_row=new_row,
        new_column=new_column,
        timestamps=timestamps,
        types=types,
        has_markers=has_markers,
        plain=not has_markers and bool(new_column.all()),
    )


def _sort(batch: pa.RecordBatch, run_start: Bools, new_column: Bools) -> tuple[Ints, Bools, Bools]:
    """Order by row run; cells are compared only in rows that several runs share.

    A run is a stretch of cells of one row in one input. Returns (order, new_row, new_column).
    """
    starts = np.flatnonzero(run_start)
    lengths = np.diff(starts, append=len(run_start))
    ranks = _ranks(batch.column("row").take(pa.array(starts)))
    by_row = np.argsort(ranks, kind="stable")
    sorted_ranks = ranks[by_row]
    order = _expand(starts[by_row], lengths[by_row])
    first_run = np.ones(len(starts), dtype=np.bool_)
    first_run[1:] = sorted_ranks[1:] != sorted_ranks[:-1]
    new_column = (new_column | run_start)[order]
    new_row = np.zeros(len(order), dtype=np.bool_)
    run_positions = np.zeros(len(starts), dtype=np.int64)
    np.cumsum(lengths[by_row][:-1], out=run_positions[1:])
    new_row[run_positions[first_run]] = True
    if first_run.all():
        return order, new_row, new_column
    shared = ~first_run
    shared[:-1] |= ~first_run[1:]
    # Back in input order: a few long ascending stretches, which the merge sort below is quick with.
    shared_runs = np.sort(by_row[shared])
    cells = _expand(starts[shared_runs], lengths[shared_runs])
    cell_ranks = np.repeat(ranks[shared_runs], lengths[shared_runs])
    cells, columns = _sort_cells(batch, cells, cell_ranks)
    places = np.flatnonzero(np.repeat(shared, lengths[by_row]))
    order[places] = cells
    starts_column = np.ones(len(cells), dtype=np.bool_)
    starts_column[1:] = columns[1:] != columns[:-1]
    new_column[places] = starts_column
    return order, new_row, new_column


def _ranks(values: pa.Array) -> Ints:
    """The place of each value among the distinct values, in byte order."""
    encoded = values.dictionary_encode()
    by_value = pc.sort_indices(encoded.dictionary).to_numpy(zero_copy_only=False)
    rank = np.empty(len(by_value), dtype=np.int64)
    rank[by_value] = np.arange(len(by_value))
    result: Ints = rank[encoded.indices.to_numpy(zero_copy_only=False)]
    return result


def _expand(starts: Ints, lengths: Ints) -> Ints:
    """``[s, s + 1, … s + n - 1]`` for every pair, one after the other."""
    ends = np.cumsum(lengths)
    return np.repeat(starts - ends + lengths, lengths) + np.arange(int(ends[-1]))


def _sort_cells(batch: pa.RecordBatch, cells: Ints, row_ranks: Ints) -> tuple[Ints, Ints]:
    """``cells`` in store order, with a number per cell that says which column of which row it is in."""
    ranks = _ranks(batch.column("qualifier").take(pa.array(cells)))
    columns = row_ranks * (int(ranks.max()) + 1) + ranks
    timestamps, types = _numbers(batch, "timestamp")[cells], _numbers(batch, "type")[cells]
    sequence_ids = _numbers(batch, "sequence_id")[cells]
    order = np.argsort(columns, kind="stable")
    if not _in_version_order(columns[order], timestamps[order], types[order], sequence_ids[order]):
        # -1 - x turns the order round without overflow at either end of int64.
        order = np.lexsort((-1 - sequence_ids, 255 - types, -1 - timestamps, columns))
    return cells[order], columns[order]


def _in_version_order(
    columns: Ints, timestamps: Ints, types: npt.NDArray[np.uint8], sequence_ids: Ints
) -> bool:
    """Inside each column: timestamp, then type, then sequence id never rises."""
    pairs = np.flatnonzero(columns[1:] == columns[:-1])
    if not len(pairs):
        return True
    following = pairs + 1
    one, two = timestamps[pairs], timestamps[following]
    if bool((one < two).any()):
        return False
    same = one == two
    pairs, following = pairs[same], following[same]
    one_type, two_type = types[pairs], types[following]
    if bool((one_type < two_type).any()):
        return False
    same = one_type == two_type
    return not bool((sequence_ids[pairs[same]] < sequence_ids[following[same]]).any())


# --- which cells stay ---------------------------------------------------------------------------------


def _without_expired_tags(batch: pa.RecordBatch, now_ms: int) -> pa.RecordBatch:
    """Cells whose own TTL has run out are passed over before any other rule looks at them."""
    tags = batch.column("tags")
    if tags.null_count == len(tags):
        return batch
    ttl = _ttl_ms(tags)
    # Compared without adding to the timestamp, which may be as large as int64 goes.
    expired = (ttl != 0) & (_numbers(batch, "timestamp") < now_ms - ttl)
    return batch.filter(pa.array(~expired)) if expired.any() else batch


def _ttl_ms(tags: pa.Array) -> Ints:
    """The TTL of every cell, 0 for none."""
    out = np.zeros(len(tags), dtype=np.int64)
    tagged = np.flatnonzero(pc.is_valid(tags).to_numpy(zero_copy_only=False))
    present = tags.drop_null()
    sizes = pc.binary_length(present).to_numpy(zero_copy_only=False)
    if bool((sizes == _TAG_SIZE).all()):
        first = int(np.frombuffer(present.buffers()[1], np.int32, 1, 4 * present.offset)[0])
        raw = np.frombuffer(present.buffers()[2], np.uint8, len(present) * _TAG_SIZE, first)
        records = raw.reshape(-1, _TAG_SIZE)
        if bool((records[:, :3] == np.frombuffer(_TAG_HEADER, np.uint8)).all()):
            out[tagged] = np.ascontiguousarray(records[:, 3:]).view(">i8")[:, 0]
            return out
    out[tagged] = [decode_ttl(tag) for tag in present.to_pylist()]
    return out


def _kept_by_policy(view: _View, policy: StorePolicy) -> Bools:
    if policy.new_version_behavior and not policy.major:
        return np.ones(len(view), dtype=np.bool_)
    rare = _rare_rows(view, policy)
    expired = view.timestamps < policy.oldest_unexpired
    if view.plain:
        keep = ~expired
    else:
        keep = _live_puts(view, expired, policy.max_versions)
        if not policy.major and view.has_markers:
            keep |= (view.types != PUT) & ~expired
    if rare is not None:
        _keep_row_by_row(view, rare, keep, policy)
    return keep


def _rare_rows(view: _View, policy: StorePolicy) -> Bools | None:
    """Per row: must ``compact_row`` decide? ``None`` when no row needs it."""
    row_count = int(np.count_nonzero(view.new_row))
    marks = np.zeros(len(view), dtype=np.bool_)  # cells that make their row rare
    sequence_ids = _numbers(view.batch, "sequence_id")
    if int(sequence_ids.max()) > policy.read_point:
        marks |= view.numbers("sequence_id") > policy.read_point
    if policy.min_versions > 0 and policy.ttl_ms:
        marks |= view.timestamps < policy.oldest_unexpired
    if policy.new_version_behavior:
        marks |= (view.types != PUT) | ~view.new_column
        if view.batch.column("tags").null_count < view.batch.num_rows:
            marks[:] = True
    elif view.has_markers and policy.keep_deleted != "FALSE":
        marks |= view.types != PUT
    rare: Bools = np.zeros(row_count, dtype=np.bool_)
    if marks.any():
        rare[_row_numbers(view)[marks]] = True
    if view.has_markers:
        rare |= _matcher_rows(view)
    return rare if rare.any() else None


def _matcher_rows(view: _View) -> Bools:
    """Per row: family-version markers, or family markers among cells of the empty qualifier.

    Family markers are stored under the empty qualifier, so there they take part in the rules by which
    the matcher leaves a column early.
    """
    out = np.zeros(int(np.count_nonzero(view.new_row)), dtype=np.bool_)
    wide = np.flatnonzero(view.types == DELETE_FAMILY_VERSION)
    family = np.flatnonzero(view.types == DELETE_FAMILY)
    if not len(wide) and not len(family):
        return out
    rows = _row_numbers(view)
    out[rows[wide]] = True
    # The empty qualifier is the first column of its row: its cells are those before the second column.
    numbers = np.cumsum(view.new_column)
    first_column = numbers == numbers[np.flatnonzero(view.new_row)][rows]
    has_family = np.zeros(len(out), dtype=np.bool_)
    has_family[rows[family]] = True
    mixed = first_column & (view.types != DELETE_FAMILY) & has_family[rows]
    out[rows[mixed]] = True
    return out


def _row_numbers(view: _View) -> Ints:
    numbers: Ints = np.cumsum(view.new_row)
    numbers -= 1
    return numbers


def _live_puts(
    view: _View, expired: Bools, max_versions: int, in_range: Bools | None = None, marker: Bools | None = None
) -> Bools:
    """The puts that stay.

    Args:
        expired: cells older than the family's TTL.
        in_range: puts outside are neither kept nor counted as versions.
        marker: which of the markers act; all of them by default.
    """
    puts = view.types == PUT
    column_dead, version_dead = _masked_puts(view, puts, ~puts if marker is None else marker)
    live: Bools = puts & ~expired
    if column_dead is not None:
        live &= ~column_dead
    if version_dead is not None:
        live &= ~version_dead
    if in_range is not None:
        live &= in_range
    # The same put written again: the first, with the higher sequence id, is the one that counts.
    repeated = puts[1:] & puts[:-1] & ~view.new_column[1:]
    repeated &= view.timestamps[1:] == view.timestamps[:-1]
    live[1:] &= ~repeated
    if bool(view.new_column.all()):
        return live
    rank: Ints = np.cumsum(live)
    column_starts = np.flatnonzero(view.new_column)
    before: Ints = rank[column_starts] - live[column_starts]
    rank -= np.repeat(before, np.diff(column_starts, append=len(view)))
    live &= rank <= max_versions
    return live


def _masked_puts(view: _View, puts: Bools, marker: Bools) -> tuple[Bools | None, Bools | None]:
    """(masked together with everything older in the column, masked alone); ``None``: nothing is."""
    if not view.has_markers:
        return None, None
    column_dead: Bools | None = None
    family = np.flatnonzero((view.types == DELETE_FAMILY) & marker)
    if len(family):
        rows = _row_numbers(view)
        column_dead = puts & (view.timestamps <= _highest(rows, family, view.timestamps))
    columns = np.flatnonzero((view.types == DELETE_COLUMN) & marker)
    if len(columns):
        numbers: Ints = np.cumsum(view.new_column) - 1
        dead = puts & (view.timestamps <= _highest(numbers, columns, view.timestamps))
        column_dead = dead if column_dead is None else column_dead | dead
    versions = np.flatnonzero((view.types == DELETE) & marker)
    if not len(versions):
        return column_dead, None
    fresh = view.new_column.copy()
    fresh[1:] |= view.timestamps[1:] != view.timestamps[:-1]
    groups = np.cumsum(fresh) - 1
    dead_groups = np.zeros(int(groups[-1]) + 1, dtype=np.bool_)
    dead_groups[groups[versions]] = True
    return column_dead, puts & dead_groups[groups]


def _highest(groups: Ints, cells: Ints, timestamps: Ints) -> Ints:
    """For every cell: the highest timestamp that ``cells`` have in its group; -1 where there is none."""
    stamps = np.full(int(groups[-1]) + 1, -1, dtype=np.int64)
    # Timestamps fall along a group: written backwards, the first and highest stays.
    stamps[groups[cells[::-1]]] = timestamps[cells[::-1]]
    np.maximum.at(stamps, groups[cells], timestamps[cells])
    return stamps[groups]


def _keep_row_by_row(view: _View, rare: Bools, keep: Bools, policy: StorePolicy) -> None:
    """Replace the verdict over the rare rows by ``compact_row``'s."""
    cells_of_rare = np.flatnonzero(rare[_row_numbers(view)])
    keep[cells_of_rare] = False
    tags = view.column("tags", cells_of_rare)
    starts = np.flatnonzero(view.new_row[cells_of_rare]).tolist()
    cells: list[StoreCell] = list(
        zip(
            view.column("qualifier", cells_of_rare),
            (-view.timestamps[cells_of_rare]).tolist(),
            (-view.types[cells_of_rare].astype(np.int64)).tolist(),
            (-view.numbers("sequence_id")[cells_of_rare]).tolist(),
            (b"",) * len(cells_of_rare),  # no rule looks at a value
            [decode_ttl(tag) if tag else 0 for tag in tags],
        )
    )
    kept: list[int] = []
    for begin, end in zip(starts, [*starts[1:], len(cells)]):
        position = begin
        for cell in compact_row(cells[begin:end], policy):
            # The kept cells are some of those given, in the same order.
            while cells[position] is not cell:
                position += 1
            kept.append(position)
            position += 1
    keep[cells_of_rare[kept]] = True


def _shown_by_read(view: _View, read: FamilyRead) -> Bools:
    expired = view.timestamps < read.oldest
    in_range: Bools | None = None
    marker: Bools | None = None
    if read.low > 0 or read.high != MAX_TIMESTAMP:
        in_range = (view.timestamps >= read.low) & (view.timestamps < read.high)
        if read.high == MAX_TIMESTAMP:  # no upper bound: the highest timestamp belongs to it
            in_range |= view.timestamps == MAX_TIMESTAMP
    if read.see_past_markers and view.has_markers:
        marker = (view.types != PUT) & (view.timestamps < read.high)
    if view.plain:
        if read.cap <= 0:
            return np.zeros(len(view), dtype=np.bool_)
        return ~expired if in_range is None else ~expired & in_range
    shown = _live_puts(view, expired, read.cap, in_range, marker)
    return shown


def _in_qualifiers(view: _View, read: FamilyRead) -> Bools:
    """True for cells of the columns asked for; the container is asked once for each distinct qualifier."""
    assert read.qualifiers is not None
    encoded = view.batch.column("qualifier").dictionary_encode()
    wanted = np.fromiter(
        (qualifier in read.qualifiers for qualifier in encoded.dictionary.to_pylist()), dtype=np.bool_
    )
    chosen: Bools = wanted[encoded.indices.to_numpy(zero_copy_only=False)]
    return chosen if view.order is None else chosen[view.order]
