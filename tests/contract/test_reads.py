"""Gets and scans: bounds, limits, batches, columns, paging, over several regions and wide rows."""

from __future__ import annotations

import struct

import pytest

from hyperbase import (
    Append,
    CheckAndMutate,
    ColumnFamilyDescriptor,
    Connection,
    Delete,
    Get,
    Increment,
    Put,
    RowMutations,
    Scan,
)
from hyperbase.common.errors import (
    IllegalArgumentException,
)
from tests.support.engine import Bench

Q = b"f:q"
ROW = b"r"


# -- gets and scans ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def grid(connection: Connection) -> Bench:
    """Rows a0 … e4 in four regions, columns f:0 … f:3 and g:0 … g:3, two versions, partly flushed."""
    bench = Bench(connection, "f", "g", max_versions=2, splits=[b"b", b"c2", b"e"])
    for stamp in (1, 2):
        for letter in b"abcde":
            for digit in b"01234":
                data = {b"%s:%d" % (family, n): b"%d" % stamp for family in (b"f", b"g") for n in range(4)}
                bench.table.put(bytes([letter, digit]), data, timestamp=stamp)
        if stamp == 1:
            bench.flush()
    return bench


ALL = [bytes([letter, digit]) for letter in b"abcde" for digit in b"01234"]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("stop_inclusive", [False, True])
@pytest.mark.parametrize("start_inclusive", [False, True])
@pytest.mark.parametrize(
    ("low", "high"),
    [
        (b"", b""),
        (b"b1", b""),
        (b"", b"d2"),
        (b"b1", b"d2"),
        (b"b", b"e"),
        (b"c2", b"c2"),
        (b"c9", b"c"),
        (b"a", b"zz"),
    ],
)
def test_scan_bounds(
    grid: Bench, low: bytes, high: bytes, start_inclusive: bool, stop_inclusive: bool, reverse: bool
) -> None:
    start, stop = (high, low) if reverse else (low, high)
    low_in, high_in = (stop_inclusive, start_inclusive) if reverse else (start_inclusive, stop_inclusive)
    expected = [
        row
        for row in ALL
        if (not low or row > low or (row == low and low_in))
        and (not high or row < high or (row == high and high_in))
    ]
    found = grid.rows(
        start=start,
        stop=stop,
        start_inclusive=start_inclusive,
        stop_inclusive=stop_inclusive,
        reverse=reverse,
    )
    assert found == (expected[::-1] if reverse else expected)


def test_a_prefix_scan_overrides_start_and_stop(grid: Bench) -> None:
    inside = [row for row in ALL if row.startswith(b"c")]
    assert grid.rows(prefix=b"c") == inside
    assert grid.rows(prefix=b"c", start=b"a", stop=b"b") == inside
    assert grid.rows(prefix=b"c", reverse=True) == inside[::-1]
    assert grid.rows(prefix=b"") == ALL
    assert [row for row, _ in grid.table.scan(row_prefix=b"c", limit=2)] == inside[:2]


def test_a_prefix_of_the_highest_byte_is_unbounded_above(bench: Bench) -> None:
    for row in (b"\xfe\xff", b"\xff", b"\xff\xff", b"\xff\xff\x01"):
        bench.table.put(row, {Q: b""})
    for state in bench.states():
        assert bench.rows(prefix=b"\xff\xff") == [b"\xff\xff", b"\xff\xff\x01"], state
        assert bench.rows(prefix=b"\xfe\xff") == [b"\xfe\xff"], state
        assert bench.rows(prefix=b"\xff\xff", reverse=True) == [b"\xff\xff\x01", b"\xff\xff"], state


@pytest.mark.parametrize("reverse", [False, True])
def test_limit_counts_rows_across_regions(grid: Bench, reverse: bool) -> None:
    ordered = ALL[::-1] if reverse else ALL
    for limit in (0, 1, 7, 25, 26):
        assert grid.rows(limit=limit, reverse=reverse) == ordered[:limit]
    with pytest.raises(IllegalArgumentException):
        Scan(limit=-1)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("batch", [1, 3, 8, 100])
def test_batch_cuts_rows_into_results_in_cell_order(grid: Bench, batch: int, reverse: bool) -> None:
    parts = grid.results(batch=batch, reverse=reverse, limit=7)
    rows: dict[bytes, list[bytes]] = {}
    for part in parts:
        assert 0 < len(part) <= batch
        rows.setdefault(part.row, []).extend(part.names)
    assert list(rows) == (ALL[::-1] if reverse else ALL)[:7]
    columns = [b"%s:%d" % (family, n) for family in (b"f", b"g") for n in range(4)]
    assert all(names == columns for names in rows.values())
    assert [part.partial for part in parts].count(False) == 7
    with pytest.raises(IllegalArgumentException):
        Scan(batch=0)


def test_store_limit_and_offset_count_cells_of_each_family(grid: Bench) -> None:
    result = grid.table.get(Get(b"c1", store_limit=2, store_offset=1))
    assert list(result.names) == [b"f:1", b"f:2", b"g:1", b"g:2"]
    result = grid.table.get(Get(b"c1", versions=2, store_limit=3, store_offset=3))
    assert [(cell.column, cell.timestamp) for cell in result.cells] == [
        (b"f:1", 1), (b"f:2", 2), (b"f:2", 1), (b"g:1", 1), (b"g:2", 2), (b"g:2", 1),
    ]  # fmt: skip
    assert grid.rows(store_limit=1, store_offset=4) == []
    assert len(grid.rows(store_limit=0)) == 0


def test_the_last_mention_of_a_family_among_the_columns_wins(grid: Bench) -> None:
    def names(*columns: bytes) -> list[bytes]:
        return list(grid.table.get(Get(b"a0", columns)).names)

    assert names(b"f", b"f:1") == [b"f:1"]
    assert names(b"f:1", b"f") == [b"f:0", b"f:1", b"f:2", b"f:3"]
    assert names(b"f:2", b"f:1", b"g:0") == [b"f:1", b"f:2", b"g:0"]
    assert names(b"f:nope") == []
    assert len(names()) == 8


def test_rows_answers_in_the_order_asked_and_leaves_missing_ones_out(grid: Bench) -> None:
    asked = [b"e1", b"nope", b"a0", b"e1"]
    assert [row for row, _ in grid.table.rows(asked, [b"f:0"])] == [b"e1", b"a0", b"e1"]
    results = grid.table.get_many([Get(row) for row in asked])
    assert [bool(result) for result in results] == [True, False, True, True]


def test_results_smaller_than_a_row_never_cut_it(grid: Bench) -> None:
    found = grid.results(max_result_bytes=1)
    assert [result.row for result in found] == ALL
    assert all(len(result) == 8 for result in found)


def test_a_row_larger_than_many_blocks_is_read_whole_both_ways(connection: Connection) -> None:
    bench = Bench(connection, ColumnFamilyDescriptor("f", max_versions=2, block_size=1024))
    wide = {b"f:%04d" % n: b"x" * 50 for n in range(1000)}
    for row in (b"a", b"wide", b"z"):
        bench.table.put(row, wide if row == b"wide" else {Q: b""}, timestamp=1)
    bench.flush()
    bench.table.put(b"wide", {b"f:0500": b"new"}, timestamp=2)

    for state in bench.states():
        assert bench.rows() == [b"a", b"wide", b"z"], state
        assert bench.rows(reverse=True) == [b"z", b"wide", b"a"], state
        assert bench.table.row(b"wide") == {**wide, b"f:0500": b"new"}, state
        assert bench.table.row(b"wide", [b"f:0999"]) == {b"f:0999": b"x" * 50}, state
        assert len(bench.results(start=b"wide", limit=1, versions=2)[0]) == 1001, state
        assert bench.table.row(b"y") == {}, state


def test_a_batch_runs_every_kind_of_action_and_answers_in_order(connection: Connection) -> None:
    bench = Bench(connection, splits=[b"m"])
    table = bench.table
    table.put(b"a", {Q: b"old"})
    outcomes = table.run_batch(
        [
            Get(b"a"),
            Put(b"a").add(Q, b"new"),
            Increment(b"z", {b"f:c": 2}),
            Append(b"z", {b"f:a": b"x"}),
            Delete(b"gone"),
            CheckAndMutate(b"k").if_not_exists(Q).then(Put(b"k").add(Q, b"")),
            RowMutations(b"m", [Put(b"m").add(Q, b"")]),
            Get(b"nope"),
        ]
    )
    got, put, count, text, delete, check, mutated, missing = outcomes
    assert got.to_dict() == {Q: b"old"}  # a batch's gets do not see its puts
    assert (put, delete) == (None, None)
    assert list(count.values) == [struct.pack(">q", 2)]
    assert list(text.values) == [b"x"]
    assert check == (True, None)
    assert not mutated
    assert not missing
    for state in bench.states():
        assert bench.rows() == [b"a", b"k", b"m", b"z"], state
        assert table.row(b"a") == {Q: b"new"}, state


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("then", ["nothing", "flush", "minor", "major"])
def test_open_scans_go_on_with_the_state_their_region_had_when_they_began(
    connection: Connection, then: str, reverse: bool
) -> None:
    bench = Bench(connection, max_versions=2)
    rows = [b"a", b"m", b"z"]
    scans = []
    for turn in range(8):
        for _ in range(12):  # many edits of a row: old ones are folded
            for row in rows:
                bench.table.put(row, {Q: b"%d" % turn, b"f:%d" % turn: b""})
        if turn % 3 == 2:
            bench.table.delete(Delete(b"m").add_columns(b"f:%d" % (turn - 1)))
        scan = bench.table.scan_results(Scan(reverse=reverse, max_result_bytes=1))
        first = next(scan).to_dict()
        scans.append((first, scan))
    if then != "nothing":
        getattr(bench, then)()

    for turn, (first, scan) in enumerate(scans):
        middle, last = (result.to_dict() for result in scan)
        everything = {Q: b"%d" % turn, **{b"f:%d" % number: b"" for number in range(turn + 1)}}
        assert first == last == everything, turn
        gone = {b"f:%d" % (number - 1) for number in range(turn + 1) if number % 3 == 2}
        assert set(middle) == set(everything) - gone, turn
