"""The vectorised merge decides like the row-by-row matcher, whatever the cells, inputs and policy."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperbase.common.model import MAX_TIMESTAMP, CellType
from regionserver.region import matcher
from regionserver.region.matcher import FamilyRead, StorePolicy, compact_row
from regionserver.region.vector_merge import merge_tables, visible_cells
from regionserver.storage.cells import StoreCell, decode_ttl, encode_ttl

SCHEMA = pa.schema(
    [
        ("row", pa.binary()),
        ("qualifier", pa.binary()),
        ("timestamp", pa.int64()),
        ("type", pa.uint8()),
        ("value", pa.binary()),
        ("sequence_id", pa.int64()),
        ("tags", pa.binary()),
    ]
)
FAMILY_MARKERS = (int(CellType.DELETE_FAMILY), int(CellType.DELETE_FAMILY_VERSION))
RowCell = tuple[bytes, StoreCell]


def batch_of(cells: Iterable[RowCell]) -> pa.RecordBatch:
    """A sorted StoreFile batch of ``cells``."""
    rows = sorted(cells)
    columns: list[list[Any]] = [[], [], [], [], [], [], []]
    for row, (qualifier, minus_stamp, minus_type, minus_seq, value, ttl) in rows:
        tags = encode_ttl(ttl) if ttl else None
        for column, item in zip(
            columns, (row, qualifier, -minus_stamp, -minus_type, value, -minus_seq, tags), strict=True
        ):
            column.append(item)
    return pa.record_batch(
        [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)], schema=SCHEMA
    )


def cells_of(batch: pa.RecordBatch) -> list[RowCell]:
    return [
        (row, (qualifier, -stamp, -kind, -seq, value, decode_ttl(tags)))
        for row, qualifier, stamp, kind, value, seq, tags in zip(
            *(column.to_pylist() for column in batch.columns), strict=True
        )
    ]


def by_row(inputs: list[list[RowCell]]) -> dict[bytes, list[StoreCell]]:
    rows: dict[bytes, list[StoreCell]] = {}
    for row, cell in heapq.merge(*(sorted(cells) for cells in inputs)):
        rows.setdefault(row, []).append(cell)
    return rows


@st.composite
def inputs(draw: st.DrawFn, kinds: tuple[int, ...], ttls: tuple[int, ...]) -> list[list[RowCell]]:
    """One to four sorted runs over few rows, columns and timestamps; every cell has its own sequence id."""
    count = draw(st.integers(0, 40))
    runs: list[list[RowCell]] = [[] for _ in range(draw(st.integers(1, 4)))]
    in_order = draw(st.booleans())  # each run newer than the one before, as flushes write them
    for number in range(count):
        row = draw(st.sampled_from([b"", b"a", b"a\x00", b"b", b"c\xff"]))
        kind = draw(st.sampled_from(kinds))
        qualifier = b"" if kind in FAMILY_MARKERS else draw(st.sampled_from([b"", b"p", b"q"]))
        stamp = draw(st.integers(0, 6) if draw(st.booleans()) else st.sampled_from([7, MAX_TIMESTAMP]))
        ttl = draw(st.sampled_from(ttls)) if kind == CellType.PUT else 0
        value = b"%d" % number if kind == CellType.PUT else b""
        run = number * len(runs) // count if in_order else draw(st.integers(0, len(runs) - 1))
        runs[run].append((row, (qualifier, -stamp, -kind, -number - 1, value, ttl)))
    return runs


ALL_KINDS = (4, 4, 4, 8, 10, 12, 14)
COMMON_KINDS = (4, 4, 4, 4, 8, 12, 14)
any_inputs = st.one_of(
    inputs(ALL_KINDS, (0, 0, 2)),
    inputs(COMMON_KINDS, (0,)),
    inputs((4,), (0,)),
    inputs((4, 4, 8, 12), (0, 3)),
)
policies = st.builds(
    StorePolicy,
    max_versions=st.integers(1, 3),
    min_versions=st.sampled_from([0, 0, 0, 1]),
    ttl_ms=st.sampled_from([0, 0, 3]),
    keep_deleted=st.sampled_from(["FALSE", "FALSE", "FALSE", "TRUE", "TTL"]),
    new_version_behavior=st.sampled_from([False, False, False, True]),
    now_ms=st.integers(3, 8),
    read_point=st.sampled_from([MAX_TIMESTAMP, MAX_TIMESTAMP, 20]),
    major=st.booleans(),
    earliest_put_timestamp=st.integers(0, 4),
)


@settings(max_examples=400, deadline=None)
@given(any_inputs, policies, st.booleans())
def test_merge_keeps_what_the_matcher_keeps(
    runs: list[list[RowCell]], policy: StorePolicy, as_table: bool
) -> None:
    batches = [batch_of(cells) for cells in runs]
    tables = [pa.Table.from_batches([batch], SCHEMA) for batch in batches] if as_table else batches
    expected = [(row, cell) for row, cells in by_row(runs).items() for cell in compact_row(cells, policy)]

    merged = merge_tables(tables, policy)

    merged.validate(full=True)
    assert cells_of(merged) == expected
    assert merged.schema == SCHEMA


reads = st.builds(
    FamilyRead,
    family=st.just(b"f"),
    prefix=st.just(b"f:"),
    qualifiers=st.sampled_from([None, None, frozenset([b"p"]), frozenset([b"", b"q"])]),
    cap=st.integers(1, 3),
    low=st.sampled_from([0, 0, 3]),
    high=st.sampled_from([MAX_TIMESTAMP, MAX_TIMESTAMP, 5]),
    min_versions=st.sampled_from([0, 0, 1]),
    oldest=st.sampled_from([matcher.NO_EXPIRY, 2]),
    now_ms=st.integers(3, 8),
    see_past_markers=st.booleans(),
    raw=st.sampled_from([False, False, False, True]),
)


@settings(max_examples=400, deadline=None)
@given(any_inputs, reads, st.sampled_from([MAX_TIMESTAMP, 20]))
def test_read_shows_what_the_matcher_shows(
    runs: list[list[RowCell]], read: FamilyRead, read_point: int
) -> None:
    shown = visible_cells([batch_of(cells) for cells in runs], read, read_point)

    if shown is None:
        return
    written = [[item for item in cells if -item[1][3] <= read_point] for cells in runs]
    assert cells_of(shown) == [
        (row, cell) for row, cells in by_row(written).items() for cell in matcher.visible_cells(cells, read)
    ]


@settings(max_examples=100, deadline=None)
@given(inputs((4, 4, 4, 8, 12), (0,)), st.integers(1, 3))
def test_a_common_read_is_never_handed_back(runs: list[list[RowCell]], cap: int) -> None:
    read = FamilyRead(b"f", b"f:", cap=cap, low=2, high=6)

    assert visible_cells([batch_of(cells) for cells in runs], read) is not None


@pytest.mark.parametrize("major", [False, True])
def test_one_input_with_nothing_to_drop_is_not_copied(major: bool) -> None:
    batch = batch_of([(b"r%03d" % number, (b"q", -5, -4, -1, b"v", 0)) for number in range(100)])

    assert merge_tables([batch], StorePolicy(major=major)) is batch


def test_no_input_cells_give_an_empty_batch() -> None:
    merged = merge_tables([SCHEMA.empty_table(), batch_of([])], StorePolicy())

    assert merged.num_rows == 0
    assert merged.schema == SCHEMA
