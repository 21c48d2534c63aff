"""Filters inside the engine: which rows and cells a Get or Scan shows, in every state and direction.

What each filter answers cell by cell is tested beside the filters; here it is their work with versions,
regions, limits, batches and the order in which the engine asks.
"""

from __future__ import annotations

import struct
from typing import Any

import pytest

from hyperbase import Connection, Delete, Get, Scan
from hyperbase.common.errors import IllegalArgumentException, IncompatibleFilterException
from hyperbase.filters import (
    ColumnPaginationFilter,
    FilterList,
    FirstKeyOnlyFilter,
    FuzzyRowFilter,
    KeyOnlyFilter,
    LongComparator,
    MultiRowRangeFilter,
    NullComparator,
    Operator,
    PageFilter,
    PrefixFilter,
    RandomRowFilter,
    RowFilter,
    SingleColumnValueFilter,
    SkipFilter,
    ValueFilter,
    WhileMatchFilter,
)
from tests.support.engine import Bench

Shown = dict[bytes, list[bytes]]


@pytest.fixture(scope="module")
def shop(connection: Connection) -> Bench:
    """Five rows in two regions, two families, the newest of two versions partly in memory."""
    bench = Bench(connection, "f", "g", max_versions=3, splits=[b"r3"])
    rows = {
        b"r1": {b"f:color": b"red", b"f:size": b"10", b"g:note": b"Hello World"},
        b"r2": {b"f:color": b"blue", b"f:size": b"20"},
        b"r3": {b"f:size": b"30", b"g:note": b"nothing"},
        b"r4": {b"f:color": b"red", b"f:shape": b"round", b"g:note": b"world"},
        b"r5": {b"f:color": b"green"},
    }
    for row, data in rows.items():
        bench.table.put(row, dict.fromkeys(data, b"old"), timestamp=1)
    bench.flush()
    for row, data in rows.items():
        bench.table.put(row, data, timestamp=2)
        if row == b"r2":
            bench.flush()
    return bench


def shown(bench: Bench, filter: Any, **options: Any) -> Shown:
    return {result.row: list(result.names) for result in bench.results(filter=filter, **options)}


CASES: list[tuple[str, Shown]] = [
    ("PrefixFilter('r2')", {b"r2": [b"f:color", b"f:size"]}),
    ("RowFilter(>=, 'binary:r5')", {b"r5": [b"f:color"]}),
    ("RowFilter(=, 'regexstring:[14]$')", {b"r1": [b"f:color", b"f:size", b"g:note"],
                                           b"r4": [b"f:color", b"f:shape", b"g:note"]}),
    ("FamilyFilter(=, 'binary:g')", {b"r1": [b"g:note"], b"r3": [b"g:note"], b"r4": [b"g:note"]}),
    ("QualifierFilter(=, 'binaryprefix:s')", {b"r1": [b"f:size"], b"r2": [b"f:size"], b"r3": [b"f:size"],
                                              b"r4": [b"f:shape"]}),
    ("ValueFilter(=, 'substring:WORLD')", {b"r1": [b"g:note"], b"r4": [b"g:note"]}),
    ("ColumnPrefixFilter('co')", {b"r1": [b"f:color"], b"r2": [b"f:color"], b"r4": [b"f:color"],
                                  b"r5": [b"f:color"]}),
    ("MultipleColumnPrefixFilter('sh', 'no')", {b"r1": [b"g:note"], b"r3": [b"g:note"],
                                                b"r4": [b"f:shape", b"g:note"]}),
    ("ColumnRangeFilter('shape', false, 'z', true)",
     {b"r1": [b"f:size"], b"r2": [b"f:size"], b"r3": [b"f:size"]}),
    ("ColumnRangeFilter('', true, 'color', true)", {b"r1": [b"f:color"], b"r2": [b"f:color"],
                                                    b"r4": [b"f:color"], b"r5": [b"f:color"]}),
    ("ColumnPaginationFilter(1, 1)", {b"r1": [b"f:size"], b"r2": [b"f:size"], b"r3": [b"g:note"],
                                      b"r4": [b"f:shape"]}),
    ("FirstKeyOnlyFilter() AND ValueFilter(=, 'binary:red')", {b"r1": [b"f:color"], b"r4": [b"f:color"]}),
    ("SingleColumnValueFilter('f', 'color', =, 'binary:red')",
     {b"r1": [b"f:color", b"f:size", b"g:note"], b"r3": [b"f:size", b"g:note"],
      b"r4": [b"f:color", b"f:shape", b"g:note"]}),
    ("SingleColumnValueFilter('f', 'color', =, 'binary:red', true, true)",
     {b"r1": [b"f:color", b"f:size", b"g:note"], b"r4": [b"f:color", b"f:shape", b"g:note"]}),
    ("SingleColumnValueExcludeFilter('f', 'color', =, 'binary:red', true, true)",
     {b"r1": [b"f:size", b"g:note"], b"r4": [b"f:shape", b"g:note"]}),
    # Like any filter it sees the older version too, and the limit of one counts what passes.
    ("ColumnValueFilter('f', 'color', !=, 'binary:red')",
     {b"r1": [b"f:color"], b"r2": [b"f:color"], b"r4": [b"f:color"], b"r5": [b"f:color"]}),
    ("ColumnValueFilter('f', 'color', >, 'binary:old')", {b"r1": [b"f:color"], b"r4": [b"f:color"]}),
    ("DependentColumnFilter('f', 'shape')", {b"r4": [b"f:color", b"f:shape", b"g:note"]}),
    ("DependentColumnFilter('f', 'shape', true)", {b"r4": [b"f:color", b"g:note"]}),
    ("TimestampsFilter(3)", {}),
    ("SKIP ValueFilter(!=, 'binary:red')", {b"r2": [b"f:color", b"f:size"], b"r3": [b"f:size", b"g:note"],
                                            b"r5": [b"f:color"]}),
    ("WHILE RowFilter(<, 'binary:r3')", {b"r1": [b"f:color", b"f:size", b"g:note"],
                                         b"r2": [b"f:color", b"f:size"]}),
    ("PrefixFilter('r1') OR ValueFilter(=, 'binary:green')", {b"r1": [b"f:color", b"f:size", b"g:note"],
                                                              b"r5": [b"f:color"]}),
    ("PrefixFilter('r1') AND QualifierFilter(=, 'binary:size')", {b"r1": [b"f:size"]}),
    ("QualifierFilter(=, 'binary:size') AND (ValueFilter(=, 'binary:10') OR ValueFilter(=, 'binary:30'))",
     {b"r1": [b"f:size"], b"r3": [b"f:size"]}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_what_a_filter_lets_through(shop: Bench, text: str, expected: Shown) -> None:
    assert shown(shop, text) == expected
    if "WHILE" not in text:
        assert shown(shop, text, reverse=True) == expected
    # A Get is asked like a scan of its row; WHILE ends nothing there but the row.
    for row in (b"r1", b"r4", b"r5"):
        assert list(shop.table.get(Get(row, filter=text)).names) == expected.get(row, [])


def test_the_answers_are_the_same_in_every_state(connection: Connection) -> None:
    bench = Bench(connection, "f", "g", max_versions=3, splits=[b"c"])
    for number, row in enumerate((b"a", b"b", b"c", b"d")):
        for stamp in (1, 2):
            data = {b"f:%d" % n: b"%d" % (number + n + stamp) for n in range(4)}
            bench.table.put(row, {**data, b"g:q": b"%d" % number}, timestamp=stamp)
    bench.table.delete(Delete(b"b").add_columns(b"f:1"))
    texts = [text for text, _ in CASES] + [
        "ValueFilter(>=, 'binary:3')",
        "SKIP ValueFilter(<, 'binary:5')",
        "ColumnPaginationFilter(2, 1)",
        "SingleColumnValueFilter('f', '1', =, 'binary:3', true, false)",
        "PageFilter(1)",
    ]

    def answers() -> list[Any]:
        return [
            bench.results(filter=text, versions=v, reverse=r)
            for text in texts
            for v in (1, 3)
            for r in (False, True)
        ]

    expected = None
    for state in bench.states():
        found = answers()
        expected = expected or found
        assert found == expected, state


def test_the_version_limit_counts_what_passed_the_familys_cap_what_the_filter_sees(
    connection: Connection,
) -> None:
    bench = Bench(connection, max_versions=3)
    for stamp in range(1, 6):
        bench.table.put(b"r", {b"f:q": b"even" if stamp % 2 == 0 else b"odd"}, timestamp=stamp)

    def stamps(text: str, versions: int) -> list[int]:
        return [cell.timestamp for cell in bench.cells(Scan(filter=text, versions=versions))]

    for state in bench.states():
        assert stamps("ValueFilter(=, 'binary:even')", 1) == [4], state
        assert stamps("ValueFilter(=, 'binary:odd')", 2) == [5, 3], state
        assert stamps("TimestampsFilter(4, 2)", 3) == [4], state  # 2 is beyond the family's three versions
        assert stamps("TimestampsFilter()", 3) == [], state
        assert stamps("FirstKeyOnlyFilter()", 3) == [5], state


def test_single_column_value_filter_looks_at_the_latest_version_unless_told_not_to(
    connection: Connection,
) -> None:
    bench = Bench(connection, max_versions=3)
    bench.table.put(b"r", {b"f:q": b"old"}, timestamp=1)
    bench.table.put(b"r", {b"f:q": b"new"}, timestamp=2)
    text = "SingleColumnValueFilter('f', 'q', =, 'binary:old', true, {})"

    for state in bench.states():
        assert bench.rows(filter=text.format("true"), versions=3) == [], state
        assert bench.rows(filter=text.format("false"), versions=3) == [b"r"], state


def test_key_only_filter_empties_values_or_leaves_their_length(shop: Bench) -> None:
    result = shop.table.get(Get(b"r1", filter="KeyOnlyFilter()"))
    assert set(result.values) == {b""}
    result = shop.table.get(Get(b"r1", filter="KeyOnlyFilter(true)"))
    assert [struct.unpack(">i", value)[0] for value in result.values] == [3, 2, 11]
    mixed = FilterList(
        FilterList(KeyOnlyFilter(), ValueFilter("=", b"red")),
        ValueFilter("=", b"10"),
        operator=Operator.MUST_PASS_ONE,
    )
    assert shop.table.get(Get(b"r1", filter=mixed)).to_dict() == {b"f:color": b"", b"f:size": b"10"}


@pytest.mark.parametrize("reverse", [False, True])
def test_page_filter_counts_rows_that_are_shown_in_each_region(shop: Bench, reverse: bool) -> None:
    both = [b"r1", b"r3"] if not reverse else [b"r5", b"r2"]
    assert shop.rows(filter=PageFilter(1), reverse=reverse) == both
    assert shop.rows(filter="PageFilter(1)", reverse=reverse, limit=1) == both[:1]
    # Rows that another filter drops do not count when it stands first.
    red = "SingleColumnValueFilter('f', 'color', =, 'binary:red', true, true)"
    assert sorted(shop.rows(filter=f"{red} AND PageFilter(1)", reverse=reverse)) == [b"r1", b"r4"]
    assert shop.rows(filter="PageFilter(0)", reverse=reverse) == []


def test_while_match_ends_each_regions_scan_at_the_first_refusal(shop: Bench) -> None:
    """A region that has shown something hands on to the next, where the filter begins anew, as in HBase."""
    assert shop.rows(filter=WhileMatchFilter(RowFilter("!=", b"r2"))) == [b"r1", b"r3", b"r4", b"r5"]
    assert shop.rows(filter=WhileMatchFilter(RowFilter("!=", b"r1"))) == []
    assert shop.rows(filter="WHILE PrefixFilter('r')") == [b"r1", b"r2", b"r3", b"r4", b"r5"]
    assert shop.rows(filter=WhileMatchFilter(RowFilter("!=", b"r4")), reverse=True) == [b"r5", b"r2", b"r1"]
    assert shop.rows(filter="WHILE ValueFilter(!=, 'binary:30')") == [b"r1", b"r2"]


def test_skip_drops_a_row_for_one_cell_and_knows_nothing_of_keys(shop: Bench) -> None:
    assert shop.rows(filter=SkipFilter(ValueFilter("!=", b"20"))) == [b"r1", b"r3", b"r4", b"r5"]
    assert shop.rows(filter="SKIP ValueFilter(!=, 'binary:old')", versions=3) == []
    assert shop.rows(filter="SKIP RowFilter(=, 'binary:r1')") == [b"r1", b"r2", b"r3", b"r4", b"r5"]
    assert shop.rows(filter="SKIP PrefixFilter('r1')") == []


def test_a_filter_is_reset_between_uses_and_may_be_used_by_two_scans(shop: Bench) -> None:
    page, first = PageFilter(1), FirstKeyOnlyFilter()
    one, two = (shop.table.scan_results(Scan(filter=page)) for _ in range(2))
    assert [next(one).row, next(two).row, next(one).row, next(two).row] == [b"r1", b"r1", b"r3", b"r3"]
    assert shop.rows(filter=page) == shop.rows(filter=page) == [b"r1", b"r3"]
    assert shown(shop, first) == shown(shop, first)


def test_filters_with_limits_and_batches(shop: Bench) -> None:
    assert shop.rows(filter="ValueFilter(!=, 'binary:red')", limit=2) == [b"r1", b"r2"]
    parts = shop.results(filter="QualifierFilter(!=, 'binary:size')", batch=1, limit=2)
    assert [(part.row, list(part.names)) for part in parts] == [
        (b"r1", [b"f:color"]),
        (b"r1", [b"g:note"]),
        (b"r2", [b"f:color"]),
    ]
    assert shop.rows(filter="ValueFilter(=, 'binary:red')", store_limit=1, columns=[b"f"]) == [b"r1", b"r4"]
    for whole in (PageFilter(1), SkipFilter(KeyOnlyFilter()), FilterList(PrefixFilter(b"r"), PageFilter(1))):
        with pytest.raises(IncompatibleFilterException):
            shop.rows(filter=whole, batch=1)


def test_hints_reach_columns_far_away_and_rows_behind_them(connection: Connection) -> None:
    bench = Bench(connection, max_versions=2)
    for row in (b"a", b"b"):
        bench.table.put(row, {b"f:%04d" % n: b"" for n in range(300)}, timestamp=1)
        bench.table.put(row, {b"f:0250": b"new"}, timestamp=2)

    for state in bench.states():
        for reverse in (False, True):
            found = shown(bench, "ColumnPrefixFilter('025')", reverse=reverse, versions=2)
            assert set(found) == {b"a", b"b"}, state
            assert found[b"a"] == [b"f:0250", *[b"f:025%d" % n for n in range(10)]], state
            ranged = shown(bench, "ColumnRangeFilter('0298', true, '0299', false)", reverse=reverse)
            assert ranged == {b"a": [b"f:0298"], b"b": [b"f:0298"]}, state
        page = shown(bench, ColumnPaginationFilter(2, b"0298"))
        assert page == {b"a": [b"f:0298", b"f:0299"], b"b": [b"f:0298", b"f:0299"]}, state


@pytest.mark.parametrize("reverse", [False, True])
def test_row_ranges_and_fuzzy_rows(connection: Connection, reverse: bool) -> None:
    bench = Bench(connection, splits=[b"05"])
    for number in range(10):
        bench.table.put(b"%02d_x" % number, {b"f:q": b""})

    for state in bench.states():
        ranges = MultiRowRangeFilter(
            [(b"01", True, b"03", False), (b"04_x", True, b"05_x", True), (b"08", False, b"09_x", False)]
        )
        found = sorted(bench.rows(filter=ranges, reverse=reverse))
        assert found == [b"01_x", b"02_x", b"04_x", b"05_x", b"08_x"], state
        fuzzy = FuzzyRowFilter([(b"?4_x", b"\x01\x00\x00\x00"), (b"07_?", b"\x00\x00\x00\x01")])
        assert sorted(bench.rows(filter=fuzzy, reverse=reverse)) == [b"04_x", b"07_x"], state


def test_comparators_of_the_api(connection: Connection) -> None:
    bench = Bench(connection)
    for row, number in ((b"a", -5), (b"b", 3), (b"c", 70)):
        bench.table.put(row, {b"f:n": struct.pack(">q", number)})
    bench.table.put(b"d", {b"f:other": b""})

    for state in bench.states():
        assert bench.rows(filter=ValueFilter(">", LongComparator(0)), columns=[b"f:n"]) == [b"b", b"c"], state
        assert bench.rows(filter=ValueFilter("<", LongComparator(0)), columns=[b"f:n"]) == [b"a"], state
        null = SingleColumnValueFilter("f", "n", "!=", NullComparator())
        assert b"a" in bench.rows(filter=null), state


def test_random_rows_are_a_share_of_all(connection: Connection) -> None:
    bench = Bench(connection)
    with bench.table.batch() as batch:
        for number in range(1000):
            batch.put(b"%04d" % number, {b"f:q": b""})
    assert 350 < len(bench.rows(filter=RandomRowFilter(0.5))) < 650
    assert bench.rows(filter=RandomRowFilter(-1)) == []
    assert len(bench.rows(filter=RandomRowFilter(2))) == 1000


def test_a_wrong_filter_is_refused_before_any_row(shop: Bench) -> None:
    for wrong in (
        "Nonsense('a')",
        "PrefixFilter(r)",
        "ValueFilter(=, 'binary')",
        "ValueFilter(>, 'substring:a')",
    ):
        with pytest.raises(IllegalArgumentException):
            shop.rows(filter=wrong)
        with pytest.raises(IllegalArgumentException):
            shop.table.get(Get(b"r1", filter=wrong))
