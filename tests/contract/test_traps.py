"""The traps a naive implementation falls into, one by one, in every state a cell can be in.

The numbers are those of the list the project keeps of HBase's surprises. A check that must hold whether the
cells are in memory, replayed, flushed, compacted or reopened walks through ``Bench.states()``.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from typing import Any

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
    TableDescriptor,
)
from hyperbase.common.errors import (
    DoNotRetryIOException,
    HBaseIOException,
    IllegalArgumentException,
    IncompatibleFilterException,
    NoSuchColumnFamilyException,
    RetriesExhaustedWithDetailsException,
)
from hyperbase.filters import FilterList, SkipFilter, parse_filter
from tests.support.engine import Bench, Clock

Q = b"f:q"
ROW = b"r"


def put(bench: Bench, timestamp: int | None, value: bytes, row: bytes = ROW, column: bytes = Q) -> None:
    bench.table.put(row, {column: value}, timestamp=timestamp)


def counter(value: int) -> bytes:
    return struct.pack(">q", value)


# -- 1 ---------------------------------------------------------------------------------------------------


def test_trap_01_versions_default_is_1_natively_and_3_through_the_happybase_call(
    connection: Connection,
) -> None:
    native = Bench(connection)
    connection.create_table("trap1", {"f": {}})
    happy = native.__class__.__new__(Bench)
    happy.connection, happy.name = connection, "trap1"

    for bench in (native, happy):
        for stamp in range(1, 6):
            put(bench, stamp, b"v%d" % stamp)

    for _ in native.states():
        assert native.versions() == [(5, b"v5")]
    for _ in happy.states():
        assert happy.versions() == [(5, b"v5"), (4, b"v4"), (3, b"v3")]


def test_trap_01_the_read_cap_applies_before_any_compaction(connection: Connection) -> None:
    bench = Bench(connection, max_versions=2)
    for stamp in (1, 2, 3):
        put(bench, stamp, b"%d" % stamp)
        bench.flush()  # three files, nothing dropped yet

    assert len(bench.versions()) == 2
    assert len(bench.versions(versions=10)) == 2
    assert len(bench.table.cells(ROW, Q, versions=10)) == 2
    assert len(bench.table.get(Get(ROW, versions="all"))) == 2


# -- 2 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("apart", [False, True], ids=["together", "in files of their own"])
@pytest.mark.parametrize(
    "marker",
    [
        lambda: Delete(ROW).add_column(Q, 5),
        lambda: Delete(ROW).add_columns(Q, 5),
        lambda: Delete(ROW).add_family("f", 5),
        lambda: Delete(ROW).add_family_version("f", 5),
        lambda: Delete(ROW, 5),
    ],
    ids=["version", "column", "family", "family version", "row"],
)
def test_trap_02_tombstone_keeps_masking_until_major_compaction(
    connection: Connection, marker: Callable[[], Delete], apart: bool
) -> None:
    bench = Bench(connection, max_versions=5)
    bench.table.delete(marker())
    if apart:
        bench.flush()
    put(bench, 5, b"late")  # written after the delete, stamped at it

    for state in bench.states(major=False):
        assert bench.table.row(ROW) == {}, state
        assert bench.rows() == [], state
        assert bench.rows(reverse=True) == [], state
    put(bench, 5, b"later")
    assert bench.table.row(ROW) == {}

    bench.major()
    put(bench, 5, b"back")

    for state in bench.states():
        assert bench.table.row(ROW) == {Q: b"back"}, state


def test_trap_02_a_marker_in_a_newer_file_masks_a_put_in_an_older_one_and_the_other_way_round(
    connection: Connection,
) -> None:
    bench = Bench(connection, "f", "g", max_versions=5)
    put(bench, 10, b"older file", row=b"a")
    bench.flush()
    bench.table.delete(Delete(b"a").add_family("f", 10))
    bench.table.delete(Delete(b"b").add_columns(Q, 10))
    bench.flush()
    put(bench, 9, b"newer file", row=b"b")
    bench.table.put(b"a", {b"g:q": b"other family"}, timestamp=9)

    for state in bench.states():
        assert bench.table.row(b"a") == {b"g:q": b"other family"}, state
        assert bench.table.row(b"b") == {}, state


# -- 3 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("apart", [False, True], ids=["together", "in files of their own"])
def test_trap_03_of_two_writes_at_one_timestamp_the_later_counts_and_only_once(
    connection: Connection, apart: bool
) -> None:
    bench = Bench(connection, max_versions=3)
    for value in (b"first", b"second", b"third"):
        put(bench, 7, value)
        if apart:
            bench.flush()
    put(bench, 6, b"before")

    for state in bench.states():
        assert bench.versions() == [(7, b"third"), (6, b"before")], state
        assert bench.table.row(ROW) == {Q: b"third"}, state
        assert dict(bench.table.scan()) == {ROW: {Q: b"third"}}, state


@pytest.mark.parametrize("delete_first", [True, False])
@pytest.mark.parametrize("how", ["calls", "mutate_row", "run_batch"])
def test_trap_03_at_one_timestamp_a_delete_beats_a_put(
    connection: Connection, how: str, delete_first: bool
) -> None:
    bench = Bench(connection)
    delete, write = Delete(ROW).add_columns(Q, 7), Put(ROW).add(Q, b"v", 7)
    order: list[Any] = [delete, write] if delete_first else [write, delete]
    if how == "calls":
        for mutation in order:
            bench.table.run_batch([mutation])
    elif how == "mutate_row":
        bench.table.mutate_row(RowMutations(ROW, order))
    else:
        bench.table.run_batch(order)

    for state in bench.states():
        assert bench.table.row(ROW) == {}, state


@pytest.mark.parametrize("how", ["mutate_row", "run_batch"])
@pytest.mark.parametrize("delete_first", [True, False])
def test_trap_03_one_batch_has_one_now_so_its_delete_masks_its_put(
    connection: Connection, how: str, delete_first: bool
) -> None:
    bench = Bench(connection)
    delete, write = Delete(ROW).add_columns(Q), Put(ROW).add(Q, b"v")
    order: list[Any] = [delete, write] if delete_first else [write, delete]
    if how == "mutate_row":
        bench.table.mutate_row(RowMutations(ROW, order))
    else:
        bench.table.run_batch(order)

    for state in bench.states():
        assert bench.table.row(ROW) == {}, state


# -- 4 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flushed", [False, True])
def test_trap_04_add_column_removes_the_newest_version_only_add_columns_all(
    connection: Connection, flushed: bool
) -> None:
    bench = Bench(connection, max_versions=5)
    for row in (b"one", b"two", b"all"):
        for stamp in (1, 2, 3):
            put(bench, stamp, b"%d" % stamp, row=row)
    if flushed:
        bench.flush()
    bench.table.delete(Delete(b"one").add_column(Q))
    bench.table.delete(Delete(b"two").add_column(Q).add_column(Q))
    bench.table.delete(Delete(b"all").add_columns(Q))

    for state in bench.states():
        assert bench.versions(b"one") == [(2, b"2"), (1, b"1")], state
        assert bench.versions(b"two") == [(1, b"1")], state
        assert bench.versions(b"all") == [], state


def test_trap_04_the_newest_version_is_looked_for_below_earlier_deletes(connection: Connection) -> None:
    bench = Bench(connection, max_versions=5)
    for stamp in (1, 2, 3):
        put(bench, stamp, b"%d" % stamp)

    left = []
    for _ in range(4):
        bench.table.delete(Delete(ROW).add_column(Q))
        left.append([stamp for stamp, _ in bench.versions()])

    assert left == [[2, 1], [1], [], []]


# -- 5 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flushed", [False, True])
def test_trap_05_check_and_mutate_compares_given_with_stored_filters_stored_with_given(
    connection: Connection, flushed: bool
) -> None:
    bench = Bench(connection, max_versions=9)
    put(bench, 1, b"bbbb")
    if flushed:
        bench.flush()

    held = {
        op: bench.table.check_and_mutate(
            CheckAndMutate(ROW).if_matches(Q, op, b"aaaa").then(Put(ROW).add(b"f:seen", op))
        )[0]
        for op in ("<", "<=", "=", "!=", ">=", ">")
    }
    passed = {
        op: bool(bench.rows(filter=f"ValueFilter({op}, 'binary:aaaa')", columns=[Q]))
        for op in ("<", "<=", "=", "!=", ">=", ">")
    }

    assert held == {"<": True, "<=": True, "=": False, "!=": True, ">=": False, ">": False}
    assert passed == {"<": False, "<=": False, "=": False, "!=": True, ">=": True, ">": True}


@pytest.mark.parametrize("flushed", [False, True])
def test_trap_05_an_empty_value_counts_as_absent_and_an_absent_cell_fails_every_comparison(
    connection: Connection, flushed: bool
) -> None:
    bench = Bench(connection)
    table = bench.table
    table.put(ROW, {b"f:empty": b"", b"f:full": b"x"})
    if flushed:
        bench.flush()

    def holds(column: bytes, op: str, value: bytes | None) -> bool:
        mutation = Put(ROW).add(b"f:other", b"")
        return table.check_and_mutate(CheckAndMutate(ROW).if_matches(column, op, value).then(mutation))[0]

    for nothing in (None, b""):
        assert holds(b"f:absent", "=", nothing)
        assert holds(b"f:empty", "=", nothing)
        assert not holds(b"f:full", "=", nothing)
        assert not holds(b"f:absent", "!=", nothing)
        assert not holds(b"f:empty", "!=", nothing)
        assert holds(b"f:full", "!=", nothing)
    for op in ("<", "<=", "=", "!=", ">=", ">"):
        assert not holds(b"f:absent", op, b"x"), op


# -- 6 ---------------------------------------------------------------------------------------------------


def test_trap_06_time_ranges_are_half_open_and_a_timestamp_means_exactly_that_or_older_than(
    connection: Connection,
) -> None:
    bench = Bench(connection, max_versions=5)
    for stamp in (1, 2, 3):
        put(bench, stamp, b"%d" % stamp)

    for state in bench.states():
        assert [t for t, _ in bench.versions(time_range=(1, 3))] == [2, 1], state
        assert [t for t, _ in bench.versions(timestamp=2)] == [2], state
        assert bench.versions(time_range=(2, 2)) == [], state
        assert bench.table.row(ROW, timestamp=2) == {Q: b"1"}, state  # HappyBase: [0, 2)
        assert bench.table.cells(ROW, Q, timestamp=3) == [b"2", b"1"], state
        assert bench.table.row(ROW, timestamp=1) == {}, state


# -- 7 ---------------------------------------------------------------------------------------------------


def test_trap_07_the_time_range_is_looked_at_before_versions_are_counted(connection: Connection) -> None:
    bench = Bench(
        connection, ColumnFamilyDescriptor("f"), ColumnFamilyDescriptor("n", new_version_behavior=True)
    )
    for stamp in (1, 2):
        bench.table.put(ROW, {Q: b"%d" % stamp, b"n:q": b"%d" % stamp}, timestamp=stamp)
        bench.flush()

    def older(family: bytes) -> list[int]:
        return [stamp for stamp, _ in bench.versions(column=family + b":q", time_range=(0, 2))]

    assert older(b"f") == [1]  # the surplus version shows again
    assert older(b"n") == []  # versions are counted first
    bench.major()
    assert older(b"f") == []
    assert older(b"n") == []


# -- 8 ---------------------------------------------------------------------------------------------------


def test_trap_08_single_column_value_filter_passes_rows_without_the_column(connection: Connection) -> None:
    bench = Bench(connection)
    bench.table.put(b"has", {Q: b"no", b"f:x": b""})
    bench.table.put(b"lacks", {b"f:x": b""})
    bench.table.put(b"match", {Q: b"yes", b"f:x": b""})
    text = "SingleColumnValueFilter('f', 'q', =, 'binary:yes'{})"

    for state in bench.states():
        assert bench.rows(filter=text.format("")) == [b"lacks", b"match"], state
        assert bench.rows(filter=text.format(", true, true")) == [b"match"], state
        # Without its column in the scan, the filter sees every row as lacking it.
        assert bench.rows(filter=text.format(""), columns=[b"f:x"]) == [b"has", b"lacks", b"match"], state
        assert bench.rows(filter=text.format(", true, true"), columns=[b"f:x"]) == [], state


def test_trap_08_page_filter_counts_in_each_region(connection: Connection) -> None:
    bench = Bench(connection, splits=[b"b", b"c"])
    for row in (b"a1", b"a2", b"b1", b"c1", b"c2", b"c3"):
        put(bench, None, b"v", row=row)

    for state in bench.states():
        assert bench.rows(filter="PageFilter(2)") == [b"a1", b"a2", b"b1", b"c1", b"c2"], state
        assert bench.rows(filter="PageFilter(1)", reverse=True) == [b"c3", b"b1", b"a2"], state
        assert bench.rows(filter="PageFilter(2)", limit=2) == [b"a1", b"a2"], state


def test_trap_08_regex_finds_substring_ignores_case_and_skip_shows_no_row_key(connection: Connection) -> None:
    bench = Bench(connection)
    put(bench, None, b"Hello World", row=b"r1")
    put(bench, None, b"other", row=b"r2")

    for state in bench.states():
        assert bench.rows(filter="ValueFilter(=, 'regexstring:lo W')") == [b"r1"], state
        assert bench.rows(filter="ValueFilter(=, 'regexstring:^lo')") == [], state
        assert bench.rows(filter="ValueFilter(=, 'substring:WORLD')") == [b"r1"], state
        assert bench.rows(filter="SKIP RowFilter(=, 'binary:r1')") == [b"r1", b"r2"], state
        assert bench.rows(filter="SKIP PrefixFilter('r1')") == [], state
        assert bench.rows(filter="WHILE RowFilter(=, 'binary:r1')") == [b"r1"], state


# -- 9 ---------------------------------------------------------------------------------------------------


def test_trap_09_the_filter_grammar(connection: Connection) -> None:
    bench = Bench(connection)
    for row in (b"row'3", b"row1", b"row2"):
        put(bench, None, b"v", row=row)

    assert bench.rows(filter="InclusiveStopFilter ('row''3')") == [b"row'3"]
    assert bench.rows(filter="(PrefixFilter ('row')AND  FirstKeyOnlyFilter())") == [
        b"row'3",
        b"row1",
        b"row2",
    ]
    assert bench.rows(filter="PrefixFilter('row1') AND KeyOnlyFilter() OR PrefixFilter('row2')") == [
        b"row1",
        b"row2",
    ]
    assert bench.rows(filter="SKIP ValueFilter(=, 'binary:v') AND PageFilter(1)") == [b"row'3"]
    assert bench.rows(filter="(PageFilter(2)") == [b"row'3", b"row1"]  # the last parenthesis may be missing
    flat = parse_filter("KeyOnlyFilter() OR PageFilter(1) OR FirstKeyOnlyFilter()")
    assert isinstance(flat, FilterList)
    assert len(flat.filters) == 3
    assert isinstance(parse_filter("SKIP (KeyOnlyFilter())"), SkipFilter)
    for wrong in ("PrefixFilter(row)", "PageFilter('123')", "PageFilter(1) and PageFilter(2)", "NoFilter()"):
        with pytest.raises(IllegalArgumentException):
            bench.rows(filter=wrong)


# -- 10 --------------------------------------------------------------------------------------------------


def test_trap_10_filters_that_decide_on_whole_rows_refuse_batch(bench: Bench) -> None:
    put(bench, None, b"v")
    for text in (
        "SingleColumnValueFilter('f', 'q', =, 'binary:v')",
        "SingleColumnValueExcludeFilter('f', 'q', =, 'binary:v')",
        "PageFilter(1)",
        "SKIP ValueFilter(=, 'binary:v')",
        "DependentColumnFilter('f', 'q')",
        "PrefixFilter('r') AND PageFilter(1)",
    ):
        with pytest.raises(IncompatibleFilterException, match="Cannot set batch on a scan using a filter"):
            bench.rows(filter=text, batch=2)
    assert bench.rows(filter="PrefixFilter('r')", batch=2) == [ROW]


def test_trap_10_limit_counts_rows_batch_counts_cells(connection: Connection) -> None:
    bench = Bench(connection)
    for row in (b"a", b"b", b"c"):
        bench.table.put(row, {b"f:%d" % index: b"" for index in range(5)})

    for state in bench.states():
        parts = bench.results(limit=2, batch=2)
        assert [(part.row, len(part), part.partial) for part in parts] == [
            (b"a", 2, True),
            (b"a", 2, True),
            (b"a", 1, False),
            (b"b", 2, True),
            (b"b", 2, True),
            (b"b", 1, False),
        ], state


# -- 11 --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("splits", [None, [b"c"], [b"b", b"c", b"d"]])
def test_trap_11_reversed_scan_starts_at_the_higher_key_columns_stay_ascending(
    connection: Connection, splits: list[bytes] | None
) -> None:
    bench = Bench(connection, max_versions=2, splits=splits)
    for row in (b"a", b"b", b"d", b"e"):
        bench.table.put(row, {b"f:1": b"old", b"f:2": b"old"}, timestamp=1)
        bench.table.put(row, {b"f:2": b"new"}, timestamp=2)

    for state in bench.states():
        assert bench.rows(reverse=True) == [b"e", b"d", b"b", b"a"], state
        assert bench.rows(start=b"c", reverse=True) == [b"b", b"a"], state  # c does not exist
        assert bench.rows(start=b"d", stop=b"a", reverse=True) == [b"d", b"b"], state
        first = bench.results(start=b"d", reverse=True, limit=1, versions="all")[0]
        assert [(cell.qualifier, cell.timestamp) for cell in first.cells] == [(b"1", 1), (b"2", 2), (b"2", 1)]
        bounds = {"start_inclusive": False, "stop_inclusive": True}
        assert bench.rows(start=b"d", stop=b"a", reverse=True, **bounds) == [b"b", b"a"], state


# -- 12 --------------------------------------------------------------------------------------------------


def test_trap_12_the_empty_qualifier_is_a_column_and_the_first_colon_separates(
    connection: Connection,
) -> None:
    bench = Bench(connection, max_versions=3)
    bench.table.put(ROW, {b"f:": b"empty", b"f:a": b"a", b"f:a:b": b"ab"}, timestamp=5)

    for state in bench.states():
        assert bench.table.row(ROW) == {b"f:": b"empty", b"f:a": b"a", b"f:a:b": b"ab"}, state
        assert bench.table.row(ROW, [b"f:"]) == {b"f:": b"empty"}, state
        assert len(bench.table.row(ROW, [b"f"])) == 3, state
        assert bench.table.row(ROW, [b"f:a:b"]) == {b"f:a:b": b"ab"}, state

    bench.table.delete(ROW, [b"f:"])
    for state in bench.states():
        assert set(bench.table.row(ROW)) == {b"f:a", b"f:a:b"}, state
    bench.table.delete(ROW, [b"f"])
    for state in bench.states():
        assert bench.table.row(ROW) == {}, state


def test_trap_12_a_family_marker_behind_puts_of_the_empty_qualifier_still_masks(
    connection: Connection,
) -> None:
    bench = Bench(connection)  # VERSIONS 1: the older put of the empty qualifier is surplus
    bench.table.put(ROW, {b"f:a": b"old"}, timestamp=1)
    bench.flush()
    bench.table.delete(Delete(ROW).add_family("f", 3))
    for stamp in (7, 6, 5, 4):
        bench.table.put(ROW, {b"f:": b"%d" % stamp}, timestamp=stamp)

    for state in bench.states():
        assert bench.table.row(ROW) == {b"f:": b"7"}, state


# -- 13 --------------------------------------------------------------------------------------------------


def test_trap_13_row_keys_have_1_to_65536_bytes(connection: Connection) -> None:
    bench = Bench(connection)
    longest = b"k" * 65_536  # HBase: 32,767; see docs/differences-from-hbase.md
    bench.table.put(longest, {Q: b"v"})

    for state in bench.states():
        assert bench.table.row(longest) == {Q: b"v"}, state
        assert bench.rows() == [longest], state
    for row, message in ((b"", "Row length is 0"), (longest + b"k", "Row length 65537 is > 65536")):
        for call in (
            lambda row=row: bench.table.put(row, {Q: b""}),
            lambda row=row: bench.table.row(row),
            lambda row=row: bench.table.delete(row),
            lambda row=row: Put(row),
            lambda row=row: Get(row),
            lambda row=row: Delete(row),
            lambda row=row: Increment(row),
            lambda row=row: Append(row),
            lambda row=row: RowMutations(row),
            lambda row=row: CheckAndMutate(row),
        ):
            with pytest.raises(IllegalArgumentException, match=message):
                call()


def test_trap_13_a_cell_may_have_10_mib_with_its_key(connection: Connection) -> None:
    bench = Bench(connection)
    limit = 10 * 2**20
    room = limit - 20 - len(ROW) - len(b"f") - len(b"q")
    bench.table.put(ROW, {Q: b"x" * room})
    assert len(bench.table.row(ROW)[Q]) == room

    big = b"x" * (room + 1)
    for call in (
        lambda: bench.table.put(ROW, {Q: big}),
        lambda: bench.table.put(Put(ROW).add(Q, big)),
        lambda: bench.table.put(ROW, {b"f:" + big + b"x": b""}),
        lambda: bench.table.put(Put(ROW, ttl_ms=1000).add(Q, big)),
        lambda: bench.table.mutate_row(RowMutations(ROW, [Put(ROW).add(Q, big)])),
    ):
        with pytest.raises(IllegalArgumentException, match="KeyValue size too large"):
            call()
    with pytest.raises(DoNotRetryIOException, match="exceeds limit of 10485760 bytes in region"):
        bench.table.append(ROW, {Q: b"x"})
    assert len(bench.table.row(ROW)[Q]) == room


@pytest.mark.parametrize("splits", [None, [b"m"]])
def test_trap_13_one_cell_too_large_in_a_batch_of_puts_and_nothing_is_written(
    connection: Connection, splits: list[bytes] | None
) -> None:
    bench = Bench(connection, splits=splits)
    batch = bench.table.batch()
    for row in (b"a", b"b", b"z"):
        batch.put(row, {Q: b"v"})
    batch.put(b"y", {Q: b"x" * 10 * 2**20})
    batch.delete(b"a")
    with pytest.raises(IllegalArgumentException, match="KeyValue size too large"):
        batch.send()
    assert bench.rows() == []

    many = bench.table.batch()
    for number in range(5000):  # more than one record of the log
        many.put(b"%05d" % number, {Q: b"v"})
    many.put(b"zz", {Q: b"x" * 10 * 2**20})
    with pytest.raises(IllegalArgumentException, match="KeyValue size too large"):
        many.send()
    assert bench.rows() == []


def test_trap_13_one_cell_too_large_fails_the_puts_and_deletes_of_its_region(connection: Connection) -> None:
    bench = Bench(connection, splits=[b"m"])
    bench.table.put(b"old", {Q: b"v"})
    big = Put(b"n").add(Q, b"x" * 10 * 2**20)
    actions = [
        Put(b"a").add(Q, b"v"),
        Put(b"z").add(Q, b"v"),
        Delete(b"old"),
        Delete(b"old").add_column(Q),
        big,
        Increment(b"counter", {Q: 1}),
        Increment(b"z", {b"f:n": 1}),
        RowMutations(b"y", [Put(b"y").add(Q, b"v")]),
    ]
    outcomes = bench.table.run_batch(actions)
    message = "exceeds limit of 10485760 bytes"
    failed = [isinstance(one, DoNotRetryIOException) and message in str(one) for one in outcomes]
    assert failed == [False, True, True, True, True, False, False, False]
    assert bench.rows() == [b"a", b"counter", b"old", b"y", b"z"]
    assert bench.table.row(b"z") == {b"f:n": (1).to_bytes(8, "big")}


# -- 14 --------------------------------------------------------------------------------------------------


def test_trap_14_family_ttl_is_in_seconds_cell_ttl_in_ms_and_only_shorter(
    connection: Connection, clock: Clock
) -> None:
    bench = Bench(connection, time_to_live=10)
    table = bench.table
    table.put(Put(b"short", ttl_ms=3_000).add(Q, b"v"))
    table.put(Put(b"long", ttl_ms=60_000).add(Q, b"v"))
    table.put(b"family", {Q: b"v"})

    for state in bench.states():
        assert bench.rows() == [b"family", b"long", b"short"], state
    clock.advance(4_000)
    for state in bench.states():
        assert bench.rows() == [b"family", b"long"], state
        assert table.row(b"short") == {}, state
    clock.advance(7_000)
    for state in bench.states():
        assert bench.rows() == [], state
        assert [table.row(row) for row in (b"long", b"family")] == [{}, {}], state


def test_trap_14_min_versions_protects_from_ttl_not_from_deletes(
    connection: Connection, clock: Clock
) -> None:
    bench = Bench(connection, max_versions=3, min_versions=1, time_to_live=5)
    now = clock()
    for age in (3, 2, 1):
        put(bench, now - age, b"%d" % age)
    put(bench, now, b"kept", row=b"deleted")

    for state in bench.states():
        assert len(bench.versions()) == 3, state
    clock.advance(10_000)
    for state in bench.states():
        assert bench.versions() == [(now - 1, b"1")], state
    bench.table.delete(b"deleted")
    bench.table.delete(ROW)
    for state in bench.states():
        assert bench.rows() == [], state


# -- 15 --------------------------------------------------------------------------------------------------


def test_trap_15_counters_are_8_bytes_big_endian(connection: Connection) -> None:
    bench = Bench(connection)
    table = bench.table
    assert table.counter_inc(ROW, b"f:c", 258) == 258
    table.put(ROW, {b"f:text": b"12", b"f:empty": b"", b"f:nine": b"123456789"})

    for state in bench.states():
        assert table.row(ROW, [b"f:c"]) == {b"f:c": b"\0\0\0\0\0\0\x01\x02"}, state
        for column, width in ((b"f:text", 2), (b"f:empty", 0), (b"f:nine", 9)):
            with pytest.raises(DoNotRetryIOException, match=f"Field is not a long, it's {width} bytes wide"):
                table.counter_inc(ROW, column)


def test_trap_15_adding_nothing_creates_the_cell_and_one_bad_column_stops_all(connection: Connection) -> None:
    bench = Bench(connection)
    table = bench.table
    assert table.counter_inc(ROW, b"f:c", 0) == 0
    table.put(ROW, {b"f:text": b"12"})
    with pytest.raises(DoNotRetryIOException):
        table.increment(ROW, {b"f:c": 5, b"f:text": 1})

    for state in bench.states():
        assert table.row(ROW) == {b"f:c": counter(0), b"f:text": b"12"}, state


def test_trap_15_a_step_over_a_cell_of_the_future_is_not_hidden_by_it(connection: Connection) -> None:
    bench = Bench(connection, max_versions=3)
    future = int(time.time() * 1000) + 3_600_000
    put(bench, future, counter(40), column=b"f:c")
    for expected in (41, 42):
        assert bench.table.counter_inc(ROW, b"f:c") == expected

    for state in bench.states():
        assert bench.table.row(ROW, include_timestamp=True) == {b"f:c": (counter(42), future)}, state


# -- 16 --------------------------------------------------------------------------------------------------


def test_trap_16_raw_scan_honours_versions_and_time_range_and_refuses_columns(connection: Connection) -> None:
    bench = Bench(connection, max_versions=5)
    for stamp in (1, 2, 3, 4):
        put(bench, stamp, b"%d" % stamp)
        bench.flush()
    bench.table.delete(Delete(ROW).add_columns(Q, 2))

    def raw(**options: Any) -> list[tuple[int, int]]:
        return [(cell.timestamp, int(cell.type)) for cell in bench.cells(Scan(raw=True, **options))]

    assert raw(versions="all") == [(4, 4), (3, 4), (2, 12), (2, 4), (1, 4)]
    assert raw(versions=2) == [(4, 4), (3, 4), (2, 12)]  # markers before the first put too many come along
    assert raw(versions="all", time_range=(2, 4)) == [(3, 4), (2, 12), (2, 4)]
    assert raw(columns=[b"f"], versions=1) == [(4, 4)]
    with pytest.raises(DoNotRetryIOException, match="Cannot specify any column for a raw scan"):
        raw(columns=[Q])

    bench.minor()
    assert raw(versions="all") == [(4, 4), (3, 4), (2, 12)]
    bench.major()
    assert raw(versions="all") == [(4, 4), (3, 4)]


# -- 23 to 25 --------------------------------------------------------------------------------------------


def test_trap_23_n_split_keys_make_n_plus_1_regions(connection: Connection) -> None:
    bench = Bench(connection, splits=[b"m", b"c", b"x"])  # in any order
    assert [info.start_key for info in connection.admin.regions(bench.name)] == [b"", b"c", b"m", b"x"]

    for keys, message in (
        ([b"a", b""], "Empty split key must not be passed in the split keys."),
        ([b"a", b"b", b"a"], "All split keys must be unique, found duplicate: a, a"),
    ):
        with pytest.raises(IllegalArgumentException, match=message):
            Bench(connection, splits=keys)


def test_trap_23_a_split_point_is_a_row_key_inside_the_region_and_not_its_start(
    connection: Connection,
) -> None:
    bench = Bench(connection, splits=[b"m"])
    admin = connection.admin
    low, high = admin.regions(bench.name)
    with pytest.raises(HBaseIOException, match="should not give a splitkey which equals to startkey!"):
        admin.split(high.encoded_name, b"m")
    with pytest.raises(DoNotRetryIOException, match="Split row is not inside region key range"):
        admin.split(high.encoded_name, b"a")
    with pytest.raises(DoNotRetryIOException, match="Region not splittable because bestSplitPoint = null"):
        admin.split(low.encoded_name)
    assert [info.start_key for info in admin.regions(bench.name)] == [b"", b"m"]

    admin.split(high.encoded_name, b"t")
    assert [info.start_key for info in admin.regions(bench.name)] == [b"", b"m", b"t"]


def _bad_schemas() -> dict[str, dict[str, Any]]:
    return {
        "MAX_FILESIZE": {"max_file_size": 2**20},
        "MEMSTORE_FLUSHSIZE": {"memstore_flush_size": 1000},
        "TTL for column family f must be positive": {"family": {"time_to_live": 0}},
        "must be between 1K and 16MB": {"family": {"block_size": 100}},
        "must be less than the Max versions": {"family": {"min_versions": 2}},
        "which is invalid": {"family": {"replication_scope": 7}},
    }


@pytest.mark.parametrize("fault", _bad_schemas())
def test_trap_24_bad_schemas_are_refused_at_create_and_alter_unless_checks_are_off(
    connection: Connection, fault: str
) -> None:
    options = _bad_schemas()[fault]
    family = ColumnFamilyDescriptor("f", **options.pop("family", {}))
    name = Bench(connection).name
    off = {"hbase.table.sanity.checks": "false"}
    how = "Set hbase.table.sanity.checks to false at conf or table descriptor if you want to bypass"
    bad = TableDescriptor(name, [family], **options)

    with pytest.raises(DoNotRetryIOException, match=f"{fault}.*{how}"):
        connection.admin.create_table(TableDescriptor(name + "new", [family], **options))
    with pytest.raises(DoNotRetryIOException, match=fault):
        connection.admin.alter_table(bad)
    assert not connection.admin.table_exists(name + "new")
    connection.admin.alter_table(TableDescriptor(name, [family], configuration=off, **options))
    connection.admin.create_table(TableDescriptor(name + "new", [family], configuration=off, **options))


def test_trap_25_the_good_rows_of_a_batch_are_written_and_errors_are_per_action(
    connection: Connection,
) -> None:
    bench = Bench(connection, splits=[b"m"])
    table = bench.table
    outcomes = table.run_batch(
        [
            Put(b"a").add(Q, b"v"),
            Put(b"b").add(b"nope:q", b"v"),
            Delete(b"c").add_family("nope"),
            Increment(b"d", {b"nope:q": 1}),
            Put(b"z").add(Q, b"v"),
            Get(b"z", [b"nope:q"]),
        ]
    )
    kinds = [type(outcome).__name__ for outcome in outcomes]
    unknown = "NoSuchColumnFamilyException"
    assert kinds == ["NoneType", unknown, unknown, unknown, "NoneType", unknown]

    batch = table.batch()
    batch.put(b"good", {Q: b"v"})
    batch.put(b"bad", {b"nope:q": b"v"})
    batch.put(b"x", {Q: b"v"})
    with pytest.raises(RetriesExhaustedWithDetailsException) as raised:
        batch.send()
    assert [row for row, _ in raised.value.failures] == [b"bad"]
    for state in bench.states():
        assert bench.rows() == [b"a", b"good", b"x", b"z"], state


def test_trap_25_an_unknown_family_is_an_error_an_unknown_qualifier_just_nothing(bench: Bench) -> None:
    put(bench, None, b"v")
    table = bench.table
    for call in (
        lambda: table.row(ROW, [b"nope"]),
        lambda: table.row(ROW, [b"nope:q"]),
        lambda: list(table.scan(columns=[b"nope"])),
        lambda: table.put(ROW, {b"nope:q": b""}),
        lambda: table.delete(ROW, [b"nope:q"]),
        lambda: table.counter_inc(ROW, b"nope:q"),
        lambda: table.append(ROW, {b"nope:q": b""}),
        lambda: table.check_and_mutate(CheckAndMutate(ROW).if_not_exists(b"nope:q").then(Delete(ROW))),
    ):
        with pytest.raises(NoSuchColumnFamilyException, match="Column family nope does not exist in"):
            call()
    assert table.row(ROW, [b"f:nope"]) == {}
    assert list(table.scan(columns=[b"f:nope"])) == []
    assert table.row(b"no row") == {}
