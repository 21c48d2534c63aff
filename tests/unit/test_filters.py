"""Every filter and comparator, fed rows in the order in which HBase asks a filter."""

from __future__ import annotations

import copy
import importlib
import random
import time
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperbase.common import filters as f
from hyperbase.common.errors import DoNotRetryIOException, IllegalArgumentException
from hyperbase.common.filters import base, comparators, filter_list
from hyperbase.common.filters import java_regex as jr
from hyperbase.common.filters.base import Filter, Hint, ReturnCode
from hyperbase.common.model import CompareOperator, KeyValue

PUT = 4
Cells = Iterable[KeyValue]


def kv(row: str, column: str, value: str = "v", timestamp: int = 1) -> KeyValue:
    family, _, qualifier = column.partition(":")
    return KeyValue(row.encode(), family.encode(), qualifier.encode(), timestamp, PUT, value.encode())


def table(*specs: str) -> list[KeyValue]:
    """Cells from texts ``row f:q[@timestamp][=value]``, in cell order."""
    cells = []
    for spec in specs:
        row, _, rest = spec.partition(" ")
        column, _, value = rest.partition("=")
        column, _, stamp = column.partition("@")
        cells.append(kv(row, column, value or "v", int(stamp or 1)))
    return sorted(cells, key=lambda c: (c.row, c.family, c.qualifier, -c.timestamp))


class Driver:
    """The scan of one region: the smallest that asks a filter everything HBase asks it, in that order."""

    def __init__(self, scan_filter: Filter, cells: Cells, reverse: bool = False) -> None:
        self.filter = copy.deepcopy(scan_filter)
        if reverse:
            self.filter.set_reversed(True)
        self.reverse = reverse
        self.cells = list(cells)
        self.hints: dict[bytes, Hint] = {}  # a hint moves the store of one family
        self.closed: set[bytes] = set()  # families whose store saw filter_all_remaining within a row
        self.asked = 0

    def rows(self) -> list[list[KeyValue]]:
        out = []
        for row in sorted({c.row for c in self.cells}, reverse=self.reverse):
            if self.filter.filter_all_remaining():
                break
            cells = [c for c in self.cells if c.row == row and not self._jumped(c)]
            if cells:
                kept = self._row(row, cells)
                if kept:
                    out.append(kept)
                self.filter.reset()
        return out

    def _jumped(self, cell: KeyValue) -> bool:
        hint = self.hints.get(cell.family)
        return hint is not None and base.is_before(cell, hint, self.reverse)

    def _row(self, row: bytes, cells: list[KeyValue]) -> list[KeyValue]:
        if self.filter.filter_row_key(row):
            return []
        kept: list[KeyValue] = []
        for family in sorted({c.family for c in cells}):
            self._store(kept, [c for c in cells if c.family == family])
        empty = not kept
        if self.filter.has_filter_row():
            kept = self.filter.filter_row_cells(kept)
            return [] if not kept or self.filter.filter_row() else kept
        return [] if empty or self.filter.filter_row() else kept

    def _store(self, kept: list[KeyValue], cells: list[KeyValue]) -> None:
        next_column: bytes | None = None
        for cell in cells:
            if cell.family in self.closed or cell.qualifier == next_column or self._jumped(cell):
                continue
            if self.filter.filter_all_remaining():
                self.closed.add(cell.family)
                return
            self.asked += 1
            code = self.filter.filter_cell(cell)
            if code in f.INCLUDE_CODES:
                kept.append(cell._replace(value=self.filter.transform_value(cell)))
            if code in (ReturnCode.NEXT_COL, ReturnCode.INCLUDE_AND_NEXT_COL):
                next_column = cell.qualifier
            elif code in (ReturnCode.NEXT_ROW, ReturnCode.INCLUDE_AND_SEEK_NEXT_ROW):
                return
            elif code is ReturnCode.SEEK_NEXT_USING_HINT:
                hint = self.filter.next_hint(cell)
                if hint is not None:
                    self.hints[cell.family] = hint


def shown(scan_filter: Filter | str, cells: Cells, reverse: bool = False) -> str:
    """What a scan returns: ``row:qualifiers`` of each row; values and timestamps left out."""
    parsed = f.parse_filter(scan_filter) if isinstance(scan_filter, str) else scan_filter
    rows = Driver(parsed, cells, reverse).rows()
    return " ".join(f"{row[0].row.decode()}:" + "".join(c.qualifier.decode() for c in row) for row in rows)


def values(scan_filter: Filter | str, cells: Cells) -> list[bytes]:
    parsed = f.parse_filter(scan_filter) if isinstance(scan_filter, str) else scan_filter
    return [c.value for row in Driver(parsed, cells).rows() for c in row]


ABC = table("a f:x", "a f:y", "b f:x", "b f:y", "c f:x", "c f:y")
AGES = table("a f:age=18", "a f:n=ann", "b f:age=70", "b f:n=bob", "c f:n=cid")


class TestRowFilters:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("RowFilter(=,'binary:b')", "b:xy"),
            ("RowFilter(!=,'binary:b')", "a:xy c:xy"),
            ("RowFilter(<,'binary:b')", "a:xy"),
            ("RowFilter(<=,'binary:b')", "a:xy b:xy"),
            ("RowFilter(>,'binary:b')", "c:xy"),
            ("RowFilter(>=,'binary:b')", "b:xy c:xy"),
            ("PrefixFilter('b')", "b:xy"),
            ("PrefixFilter('')", "a:xy b:xy c:xy"),
            ("PrefixFilter('bb')", ""),
            ("InclusiveStopFilter('b')", "a:xy b:xy"),
            ("InclusiveStopFilter('bb')", "a:xy b:xy"),
            ("PageFilter(2)", "a:xy b:xy"),
            ("PageFilter(0)", ""),
        ],
    )
    def test_keeps_rows(self, text: str, expected: str) -> None:
        assert shown(text, ABC) == expected

    def test_stops_after_the_prefix_in_both_directions(self) -> None:
        for reverse, stop in ((False, "c"), (True, "a")):
            driver = Driver(f.PrefixFilter("b"), ABC, reverse)
            assert [row[0].row for row in driver.rows()] == [b"b"]
            assert driver.filter.filter_all_remaining(), stop

    def test_reversed_stop(self) -> None:
        assert shown("InclusiveStopFilter('b')", ABC, reverse=True) == "c:xy b:xy"

    def test_page_counts_only_rows_that_stay(self) -> None:
        assert shown("RowFilter(>,'binary:a') AND PageFilter(1)", ABC) == "b:xy"

    def test_random_rows(self) -> None:
        assert shown(f.RandomRowFilter(-1), ABC) == ""
        assert shown(f.RandomRowFilter(2), ABC) == "a:xy b:xy c:xy"
        many = [kv(f"{i:04}", "f:q") for i in range(400)]
        count = len(Driver(f.RandomRowFilter(0.5, random.Random(7)), many).rows())
        assert 150 < count < 250

    def test_negative_page_is_refused(self) -> None:
        with pytest.raises(IllegalArgumentException, match="must be positive -1"):
            f.PageFilter(-1)


class TestFuzzyAndRanges:
    KEYS = table(*(f"{a}{b}{c} f:q" for a in "abc" for b in "xyz" for c in "12"), "ay f:q", "ayy1 f:q")

    def test_fuzzy_matches_and_jumps(self) -> None:
        driver = Driver(f.FuzzyRowFilter([(b"?y1", b"\1\0\0")]), self.KEYS)
        # A row shorter than the key is tested as far as it goes.
        assert [row[0].row for row in driver.rows()] == [b"ay", b"ay1", b"by1", b"cy1"]
        assert driver.asked < len(self.KEYS)

    def test_fuzzy_ends_the_scan_when_no_later_row_can_match(self) -> None:
        driver = Driver(f.FuzzyRowFilter([(b"ay1", b"\0\0\0")]), self.KEYS)
        assert [row[0].row for row in driver.rows()] == [b"ay", b"ay1"]
        assert driver.filter.filter_all_remaining()

    def test_fuzzy_reversed(self) -> None:
        driver = Driver(f.FuzzyRowFilter([(b"?y1", b"\1\0\0")]), self.KEYS, reverse=True)
        assert [row[0].row for row in driver.rows()] == [b"cy1", b"by1", b"ay1", b"ay"]

    def test_fuzzy_refuses_unequal_lengths(self) -> None:
        with pytest.raises(IllegalArgumentException, match="lengths do not match"):
            f.FuzzyRowFilter([(b"ab", b"\0")])

    @given(
        st.lists(
            st.binary(min_size=1, max_size=4).map(lambda b: bytes(x % 4 * 85 for x in b)),
            min_size=1,
            max_size=40,
        ),
        st.lists(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=4), min_size=1, max_size=3),
        st.booleans(),
    )
    @settings(max_examples=200, deadline=None)
    def test_hints_never_jump_over_a_match(
        self, rows: list[bytes], keys: list[list[tuple[int, bool]]], reverse: bool
    ) -> None:
        pairs = [(bytes(b * 85 for b, _ in key), bytes(free for _, free in key)) for key in keys]
        cells = [KeyValue(row, b"f", b"q", 1, PUT, b"") for row in rows]
        got = [row[0].row for row in Driver(f.FuzzyRowFilter(pairs), cells, reverse).rows()]
        want = sorted(
            {
                row
                for row in rows
                if any(all(free or r == k for r, k, free in zip(row, *p, strict=False)) for p in pairs)
            },
            reverse=reverse,
        )
        assert got == want

    def test_ranges(self) -> None:
        ranges = [(b"b", True, b"bz1", False), (b"by", True, b"bz", True), (b"cy1", False, b"", False)]
        driver = Driver(f.MultiRowRangeFilter(ranges), self.KEYS)
        assert [row[0].row for row in driver.rows()] == [
            b"bx1", b"bx2", b"by1", b"by2", b"cy2", b"cz1", b"cz2",
        ]  # fmt: skip
        assert driver.asked < len(self.KEYS)

    @given(
        st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.integers(0, 9), st.booleans()), min_size=1),
        st.booleans(),
    )
    @settings(max_examples=200, deadline=None)
    def test_ranges_are_the_union_of_what_was_given(
        self, given_ranges: list[tuple[int, bool, int, bool]], reverse: bool
    ) -> None:
        ranges = [f.RowRange(b"%d" % a, a_in, b"%d" % b, b_in) for a, a_in, b, b_in in given_ranges]
        cells = [
            KeyValue(b"%d" % i + tail, b"f", b"q", 1, PUT, b"") for i in range(10) for tail in (b"", b"5")
        ]
        if not all(r.is_valid() for r in ranges):
            with pytest.raises(IllegalArgumentException, match="invaild ranges"):
                f.MultiRowRangeFilter(ranges)
            return
        got = [row[0].row for row in Driver(f.MultiRowRangeFilter(ranges), cells, reverse).rows()]
        want = [c.row for c in cells if any(r.contains(c.row) for r in ranges)]
        assert got == (want[::-1] if reverse else want)

    def test_ranges_of_prefixes_and_of_nothing(self) -> None:
        assert (
            shown(f.MultiRowRangeFilter.of_prefixes([b"ax", b"cz"]), self.KEYS) == "ax1:q ax2:q cz1:q cz2:q"
        )
        with pytest.raises(IllegalArgumentException, match="No ranges found"):
            f.MultiRowRangeFilter([])


class TestColumnFilters:
    WIDE = table("r f:a", "r f:ab", "r f:b", "r f:c", "r f:d", "r g:a", "r g:e", "s f:d")

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("FamilyFilter(=,'binary:g')", "r:ae"),
            ("QualifierFilter(>=,'binary:c')", "r:cde s:d"),
            ("ColumnPrefixFilter('a')", "r:aaba"),
            ("ColumnPrefixFilter('d')", "r:d s:d"),
            ("MultipleColumnPrefixFilter('d','a','ab')", "r:aabda s:d"),
            ("MultipleColumnPrefixFilter()", "r:aabbcdae s:d"),
            ("ColumnRangeFilter('b',true,'d',false)", "r:bc"),
            ("ColumnRangeFilter('b',false,'d',true)", "r:cd s:d"),
            ("ColumnRangeFilter('',true,'b',true)", "r:aabba"),
            ("ColumnRangeFilter('d',true,'',true)", "r:de s:d"),
            ("FirstKeyOnlyFilter()", "r:a s:d"),
            ("ColumnPaginationFilter(2,0)", "r:aab s:d"),
            ("ColumnPaginationFilter(3,3)", "r:cda"),  # families in one chain
            ("ColumnPaginationFilter(0,0)", ""),
            ("ColumnCountGetFilter(2)", "r:aab"),  # ends the scan in a row that has more
        ],
    )
    def test_keeps_columns(self, text: str, expected: str) -> None:
        assert shown(text, self.WIDE) == expected

    def test_qualifier_hint_seeks(self) -> None:
        driver = Driver(f.ColumnPrefixFilter("d"), self.WIDE)
        driver.rows()
        assert driver.asked < len(self.WIDE)

    def test_pagination_from_a_qualifier(self) -> None:
        assert shown(f.ColumnPaginationFilter(2, b"b"), self.WIDE) == "r:bc s:d"

    def test_first_matching_qualifier(self) -> None:
        assert shown(f.FirstKeyValueMatchingQualifiersFilter(["b", "d"]), self.WIDE) == "r:aabb s:d"

    def test_one_version_per_column(self) -> None:
        versions = table("r f:a@3", "r f:a@2", "r f:b@1")
        assert shown("ColumnPaginationFilter(5,0)", versions) == "r:ab"
        assert shown("FirstKeyOnlyFilter()", versions) == "r:a"

    def test_timestamps(self) -> None:
        versions = table(*(f"r f:{q}@{t}={q}{t}" for q in "ab" for t in (1, 2, 3, 4)))
        for hint in (False, True):
            assert values(f.TimestampsFilter([2, 4], hint), versions) == [b"a4", b"a2", b"b4", b"b2"]
        assert values("TimestampsFilter()", versions) == []
        with pytest.raises(IllegalArgumentException, match="must be positive -1"):
            f.TimestampsFilter([-1])

    def test_key_only(self) -> None:
        assert values("KeyOnlyFilter()", table("r f:a=abc")) == [b""]
        assert values("KeyOnlyFilter(true)", table("r f:a=abc")) == [b"\0\0\0\3"]

    def test_arguments_are_checked(self) -> None:
        for make in (
            lambda: f.ColumnCountGetFilter(-1),
            lambda: f.ColumnPaginationFilter(-1, 0),
            lambda: f.ColumnPaginationFilter(0, -1),
            lambda: f.MultipleColumnPrefixFilter(["a", "a"]),
        ):
            with pytest.raises(IllegalArgumentException):
                make()


class TestValueFilters:
    def test_value_filter_drops_cells_not_rows(self) -> None:
        assert shown("ValueFilter(=,'binaryprefix:b')", AGES) == "b:n"
        assert shown("ValueFilter(!=,'substring:ANN')", AGES) == "a:age b:agen c:n"

    @pytest.mark.parametrize(
        ("rest", "expected"),
        [
            (")", "b:agen c:n"),  # a row lacking the column passes
            (",false,true)", "b:agen c:n"),
            (",true,true)", "b:agen"),
        ],
    )
    def test_single_column_value(self, rest: str, expected: str) -> None:
        assert shown("SingleColumnValueFilter('f','age',>,'binary:5'" + rest, AGES) == expected

    def test_any_version_may_match(self) -> None:
        versions = table("r f:a@2=new", "r f:a@1=old", "r f:b")
        assert shown(f.SingleColumnValueFilter("f", "a", "=", "old"), versions) == ""
        any_version = f.SingleColumnValueFilter("f", "a", "=", "old", latest_version_only=False)
        assert shown(any_version, versions) == "r:aab"

    def test_excluded_column_is_left_out(self) -> None:
        assert shown("SingleColumnValueExcludeFilter('f','age',<,'binary:5')", AGES) == "a:n c:n"

    def test_column_value(self) -> None:
        assert shown("ColumnValueFilter('f','age',=,'binary:70')", AGES) == "b:age"
        assert shown("ColumnValueFilter('f','n',=,'regexstring:^.i')", AGES) == "c:n"

    def test_dependent_column(self) -> None:
        cells = table("r f:ref@5=x", "r f:ref@3=y", "r f:a@5", "r f:b@4", "r f:c@3", "s f:a@5")
        assert shown("DependentColumnFilter('f','ref')", cells) == "r:acrefref"
        assert shown("DependentColumnFilter('f','ref',true)", cells) == "r:ac"
        assert shown("DependentColumnFilter('f','ref',false,=,'binary:y')", cells) == "r:cref"

    def test_no_op(self) -> None:
        assert shown(f.ValueFilter("NO_OP", "x"), AGES) == ""
        with pytest.raises(IllegalArgumentException, match="NO_OP"):
            f.SingleColumnValueFilter("f", "a", CompareOperator.NO_OP, "x")

    @pytest.mark.parametrize(
        "text",
        [
            "SingleColumnValueFilter('f','a',=,'binary:1')",
            "SingleColumnValueExcludeFilter('f','a',=,'binary:1')",
            "PageFilter(1)",
            "SKIP KeyOnlyFilter()",
            "DependentColumnFilter('f','a')",
            "KeyOnlyFilter() AND PageFilter(1)",
        ],
    )
    def test_filters_that_decide_on_rows_say_so(self, text: str) -> None:
        assert f.parse_filter(text).has_filter_row()
        assert not f.parse_filter("RowFilter(=,'binary:a') AND KeyOnlyFilter()").has_filter_row()


class TestWrappers:
    def test_skip_drops_rows_with_a_rejected_cell(self) -> None:
        assert shown("SKIP ValueFilter(!=,'binary:bob')", AGES) == "a:agen c:n"

    def test_skip_never_shows_row_keys(self) -> None:
        assert shown("SKIP RowFilter(=,'binary:b')", ABC) == "a:xy b:xy c:xy"
        assert shown("SKIP PrefixFilter('b')", ABC) == ""

    def test_while_ends_at_the_first_reject(self) -> None:
        assert shown("WHILE RowFilter(!=,'binary:b')", ABC) == "a:xy"
        assert shown("WHILE PrefixFilter('a')", ABC) == "a:xy"
        # What passed before the reject in the same row is returned.
        assert shown("WHILE ValueFilter(!=,'binary:bob')", AGES) == "a:agen b:age"

    def test_reversed_reaches_the_inner_filter(self) -> None:
        assert shown("WHILE InclusiveStopFilter('b')", ABC, reverse=True) == "c:xy b:xy"


class TestFilterList:
    def test_and_or_and_nesting(self) -> None:
        assert shown("RowFilter(>,'binary:a') AND QualifierFilter(=,'binary:x')", ABC) == "b:x c:x"
        assert shown("RowFilter(=,'binary:a') OR RowFilter(=,'binary:c')", ABC) == "a:xy c:xy"
        nested = "(PrefixFilter('a') OR PrefixFilter('c')) AND QualifierFilter(=,'binary:y')"
        assert shown(nested, ABC) == "a:y c:y"

    def test_an_empty_list_passes_everything(self) -> None:
        for operator in filter_list.Operator:
            assert shown(f.FilterList(operator), ABC) == "a:xy b:xy c:xy"

    def test_ways_to_build_one(self) -> None:
        first, second = f.KeyOnlyFilter(), f.PageFilter(1)
        built = f.FilterList(f.Operator.MUST_PASS_ONE, first, second)
        assert built == f.FilterList([first, second], operator="OR")
        assert built == f.parse_filter("KeyOnlyFilter() OR PageFilter(1)")
        assert f.FilterList(first, second).operator is f.Operator.MUST_PASS_ALL
        with pytest.raises(IllegalArgumentException, match="Invalid operator"):
            f.FilterList(operator="XOR")

    def test_members_must_agree_on_reversed(self) -> None:
        first = f.KeyOnlyFilter()
        first.set_reversed(True)
        with pytest.raises(IllegalArgumentException, match="must have the same reversed flag"):
            f.FilterList(first, f.PageFilter(1))

    def test_values_are_transformed_only_by_members_that_included(self) -> None:
        either = "(KeyOnlyFilter() AND QualifierFilter(=,'binary:age')) OR QualifierFilter(=,'binary:n')"
        assert values(either, AGES) == [b"", b"ann", b"", b"bob", b"cid"]
        assert values("KeyOnlyFilter() AND QualifierFilter(=,'binary:n')", AGES) == [b"", b"", b""]

    def test_members_after_a_reject_do_not_count_the_cell(self) -> None:
        text = "QualifierFilter(=,'binary:y') AND ColumnPaginationFilter(1,0)"
        assert shown(text, ABC) == "a:y b:y c:y"

    def test_a_member_of_or_is_not_shown_what_it_jumped_over(self) -> None:
        versions = table("r f:a@3", "r f:a@2", "r f:b@1", "r f:c@1")
        # Pagination counts columns: the second version of a must not count as one.
        assert shown("ColumnPaginationFilter(2,0) OR TimestampsFilter(2)", versions) == "r:aab"

    def test_or_seeks_to_the_nearest_hint(self) -> None:
        cells = table(*(f"r f:{q}" for q in "abcdefgh"))
        driver = Driver(f.parse_filter("ColumnPrefixFilter('f') OR ColumnPrefixFilter('d')"), cells)
        assert [c.qualifier for c in driver.rows()[0]] == [b"d", b"f"]
        assert driver.asked == 5  # a, then d to g
        assert shown("ColumnPrefixFilter('f') OR ColumnPrefixFilter('d')", cells, reverse=True) == "r:df"
        assert shown("ColumnPrefixFilter('f') OR QualifierFilter(=,'binary:b')", cells) == "r:bf"

    def test_a_hinting_member_sees_rows_another_dropped(self) -> None:
        cells = table(*(f"{r} f:q" for r in "abcdefgh"))
        ranges = f.MultiRowRangeFilter([(b"f", True, b"g", True)])
        driver = Driver(f.FilterList(f.RowFilter("!=", "a"), ranges), cells)
        assert [row[0].row for row in driver.rows()] == [b"f", b"g"]
        driver = Driver(f.FilterList(ranges, f.RowFilter("!=", "a")), cells)
        assert [row[0].row for row in driver.rows()] == [b"f", b"g"]
        assert driver.asked == 3  # a, which jumps, then f and g

    def test_merge_tables(self) -> None:
        code = ReturnCode
        assert filter_list.AND_MERGE[code.INCLUDE_AND_NEXT_COL, code.SKIP] is code.NEXT_COL
        assert filter_list.AND_MERGE[code.INCLUDE, code.INCLUDE_AND_NEXT_COL] is code.INCLUDE_AND_NEXT_COL
        assert filter_list.AND_MERGE[code.INCLUDE_AND_SEEK_NEXT_ROW, code.NEXT_COL] is code.NEXT_ROW
        assert filter_list.AND_MERGE[code.NEXT_ROW, code.SEEK_NEXT_USING_HINT] is code.SEEK_NEXT_USING_HINT
        assert filter_list.OR_MERGE[code.INCLUDE_AND_NEXT_COL, code.NEXT_ROW] is code.INCLUDE_AND_NEXT_COL
        assert filter_list.OR_MERGE[code.INCLUDE_AND_SEEK_NEXT_ROW, code.SKIP] is code.INCLUDE
        assert filter_list.OR_MERGE[code.NEXT_COL, code.SEEK_NEXT_USING_HINT] is code.SKIP
        assert filter_list.OR_MERGE[(code.SEEK_NEXT_USING_HINT,) * 2] is code.SEEK_NEXT_USING_HINT

    @given(st.data())
    @settings(max_examples=200, deadline=None)
    def test_lists_of_row_and_column_tests_are_plain_logic(self, data: st.DataObject) -> None:
        """Whatever hints and skips they use, AND is intersection and OR is union of cells."""
        leaf = st.sampled_from(
            [
                ("PrefixFilter('b')", lambda c: c.row == b"b"),
                ("RowFilter(>,'binary:a')", lambda c: c.row > b"a"),
                ("FamilyFilter(=,'binary:g')", lambda c: c.family == b"g"),
                ("ColumnPrefixFilter('y')", lambda c: c.qualifier == b"y"),
                ("ColumnRangeFilter('y',true,'z',false)", lambda c: c.qualifier == b"y"),
                ("MultipleColumnPrefixFilter('x','z')", lambda c: c.qualifier in (b"x", b"z")),
                ("ValueFilter(=,'binary:1')", lambda c: c.value == b"1"),
                ("TimestampsFilter(2)", lambda c: c.timestamp == 2),
            ]
        )
        text, passes = data.draw(
            st.recursive(leaf, lambda inner: st.builds(_combine, inner, inner, st.booleans()))
        )
        cells = table(
            *(f"{r} {fam}:{q}@{t}={t % 2}" for r in "abc" for fam in "fg" for q in "xyz" for t in (1, 2, 3))
        )
        for reverse in (False, True):
            got = {c for row in Driver(f.parse_filter(text), cells, reverse).rows() for c in row}
            assert got == {c for c in cells if passes(c)}, text


def _combine(a, b, both):  # type: ignore[no-untyped-def]
    if both:
        return f"({a[0]} AND {b[0]})", lambda c: a[1](c) and b[1](c)
    return f"({a[0]} OR {b[0]})", lambda c: a[1](c) or b[1](c)


class TestComparators:
    @pytest.mark.parametrize(
        ("comparator", "stored", "sign"),
        [
            (f.BinaryComparator("b"), b"a", 1),
            (f.BinaryComparator(b"\xff"), b"a", 1),
            (f.BinaryComparator("b"), b"ba", -1),
            (f.BinaryPrefixComparator("ab"), b"abc", 0),
            (f.BinaryPrefixComparator("ab"), b"a", 1),
            (f.BinaryComponentComparator("cd", 2), b"abcdef", 0),
            (f.BinaryComponentComparator("cd", 2), b"abce", -1),
            (f.SubstringComparator("NN"), b"anna", 0),
            (f.SubstringComparator("nn"), b"ana", 1),
            (f.RegexStringComparator("a.c"), b"xxa\ncxx", 0),  # found anywhere, DOTALL
            (f.RegexStringComparator("^a.c$"), b"xabc", 1),
            (f.RegexStringComparator("ABC", flags=jr.CASE_INSENSITIVE), b"xabc", 0),
            (f.RegexStringComparator("^.$", charset="ISO-8859-1"), b"\xe9", 0),
            (f.RegexStringComparator("^é$"), "é".encode(), 0),
            (f.NullComparator(), b"", 1),
            (f.NullComparator(), None, 0),
            (f.BitComparator(b"\x0f", "AND"), b"\x01", 0),
            (f.BitComparator(b"\x0f", "AND"), b"\xf0", 1),
            (f.BitComparator(b"\x0f", "AND"), b"\xff\xff", 1),
            (f.BitComparator(b"\0", "OR"), b"\0", 1),
            (f.BitComparator(b"\x01", "XOR"), b"\x01", 1),
            (f.BitComparator(b"\x01", "XOR"), b"\x02", 0),
            (f.LongComparator(-5), (7).to_bytes(8), -1),
            (f.LongComparator(-5), (-5).to_bytes(8, signed=True), 0),
            (f.BigDecimalComparator("1.50"), f.BigDecimalComparator("1.5").value, 0),
            (f.BigDecimalComparator(2), f.BigDecimalComparator("-1e3").value, 1),
        ],
    )  # fmt: skip
    def test_sign_of_given_against_stored(
        self, comparator: f.Comparator, stored: bytes | None, sign: int
    ) -> None:
        assert comparator.compare_to(stored) == sign

    @given(st.binary(), st.binary(), st.sampled_from([o for o in CompareOperator if o.name != "NO_OP"]))
    def test_filters_compare_stored_with_given(
        self, stored: bytes, given_: bytes, op: CompareOperator
    ) -> None:
        expected = {
            "<": stored < given_, "<=": stored <= given_, "=": stored == given_,
            "!=": stored != given_, ">=": stored >= given_, ">": stored > given_,
        }[op.value]  # fmt: skip
        comparator = f.BinaryComparator(given_)
        assert comparator.test(op)(stored) is expected
        assert f.Comparator.test(comparator, op)(stored) is expected

    def test_decimal_bytes_are_those_of_java(self) -> None:
        assert f.BigDecimalComparator("1.5").value == b"\0\0\0\1\x0f"
        assert f.BigDecimalComparator("-128").value == b"\0\0\0\0\x80"
        assert f.BigDecimalComparator("128").value == b"\0\0\0\0\0\x80"
        big = "1" + "0" * 6000
        assert f.BigDecimalComparator(big).compare_to(f.BigDecimalComparator(big).value) == 0

    def test_stored_values_of_the_wrong_shape(self) -> None:
        with pytest.raises(IllegalArgumentException, match="Wrong length: 3, expected 8"):
            f.LongComparator(1).compare_to(b"abc")
        with pytest.raises(IllegalArgumentException, match="5 bytes"):
            f.BigDecimalComparator(1).compare_to(b"abc")

    def test_a_catastrophic_pattern_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(comparators, "REGEX_TIMEOUT_S", 0.1)
        comparator = f.RegexStringComparator("^(a|aa)+$")
        begin = time.monotonic()
        with pytest.raises(DoNotRetryIOException, match="ran for more than"):
            comparator.compare_to(b"a" * 60 + b"!")
        assert time.monotonic() - begin < 2


class TestJavaRegex:
    @pytest.mark.parametrize(
        ("pattern", "text", "found"),
        [
            (r"\Qa.b\E+", "a.bbb", True),
            (r"\Qa.b", "axb", False),
            (r"a\z", "a\n", False),
            (r"a\Z", "a\n", True),
            (r"a$", "a\r\n", True),
            (r"^\d$", "٣", False),  # digits are ASCII
            (r"^\w$", "é", False),
            (r"^\p{L}$", "é", True),
            (r"^\p{Alpha}$", "é", False),
            (r"^\P{Alpha}$", "é", True),
            (r"^[\p{Upper}_]+$", "A_B", True),
            (r"^[a-z&&[^bc]]+$", "ad", True),
            (r"^[a-z&&[^bc]]+$", "ab", False),
            (r"^[a|~]+$", "a|~", True),
            (r"^[^]]$", "a", True),
            (r"(?i)ABC", "xabc", True),
            (r"a(?i:B)c", "abc", True),
            (r"a(?i)B", "ab", True),
            (r"(?<x>a)\k<x>", "aa", True),
            (r"a++b", "aaab", True),
            (r"(?>a+)ab", "aaab", False),
            (r"(?<=a)b", "ab", True),
            (r"\x41\u0042\x{43}\0104", "ABCD", True),
            (r"^\h\v$", "\t\n", True),
            (r"a{2,3}$", "baa", True),
            (r"\bfoo\b", "a foo.", True),
        ],
    )
    def test_reads_as_java_does(self, pattern: str, text: str, found: bool) -> None:
        assert (f.RegexStringComparator(pattern).compare_to(text.encode()) == 0) is found

    @pytest.mark.parametrize(
        "pattern",
        [
            "(",
            "[a",
            "*a",
            "a{e<=1}",
            "a{",
            "(?R)",
            "(?P<x>a)",
            "(?|a)",
            "(*FAIL)",
            r"\L<x>",
            r"\y",
            "a\\",
            "a)",
        ],
    )
    def test_refuses_what_java_refuses(self, pattern: str) -> None:
        with pytest.raises(IllegalArgumentException, match="illegal regular expression"):
            f.RegexStringComparator(pattern)

    @given(st.text(st.sampled_from("ab([{})]\\QEpP{}^$.|?*+-&,0<>:=!xukcz~ds"), max_size=12))
    @settings(max_examples=300, deadline=None)
    def test_any_pattern_compiles_or_is_refused(self, pattern: str) -> None:
        try:
            comparator = f.RegexStringComparator(pattern)
        except IllegalArgumentException:
            return
        assert comparator.compare_to(b"aab") in (0, 1)


EXAMPLES: list[Filter] = [
    f.KeyOnlyFilter(True), f.FirstKeyOnlyFilter(), f.PrefixFilter("it's"), f.ColumnPrefixFilter(b"\xff"),
    f.MultipleColumnPrefixFilter(["b", "a"]), f.ColumnCountGetFilter(3), f.PageFilter(4),
    f.ColumnPaginationFilter(5, 6), f.InclusiveStopFilter("z"), f.TimestampsFilter([3, 1]),
    f.RowFilter("<", "a"), f.FamilyFilter("=", f.SubstringComparator("X")),
    f.QualifierFilter("!=", f.RegexStringComparator("a'b")),
    f.ValueFilter(">=", f.BinaryPrefixComparator("")),
    f.ColumnRangeFilter(None, True, "q", True), f.SingleColumnValueFilter("f", "q", "=", "v", True, False),
    f.SingleColumnValueExcludeFilter("f", "", "<=", "v"), f.ColumnValueFilter("f", "q", ">", "v"),
    f.DependentColumnFilter("f", "q"), f.DependentColumnFilter("f", "q", True, "=", "v"),
    f.SkipFilter(f.PageFilter(1)), f.WhileMatchFilter(f.SkipFilter(f.PageFilter(1))),
    f.FilterList(f.PageFilter(1), f.FilterList(f.KeyOnlyFilter(), f.PageFilter(2), operator="OR")),
]  # fmt: skip
API_ONLY: list[Filter] = [
    f.FuzzyRowFilter([(b"a", b"\0")]), f.MultiRowRangeFilter([(b"a", True, b"b", False)]),
    f.RandomRowFilter(0.5), f.FirstKeyValueMatchingQualifiersFilter(["a"]), f.FilterList(),
    f.TimestampsFilter([1], True), f.ColumnPaginationFilter(1, b"q"), f.RowFilter("=", f.LongComparator(5)),
    f.ValueFilter("=", f.RegexStringComparator("a", flags=0)),
]  # fmt: skip


class TestIdentity:
    @pytest.mark.parametrize("example", EXAMPLES, ids=repr)
    def test_the_string_form_parses_back(self, example: Filter) -> None:
        assert f.parse_filter(example.filter_string()) == example
        assert example.filter_string() == f.parse_filter(example.filter_string()).filter_string()

    @pytest.mark.parametrize("example", EXAMPLES + API_ONLY, ids=repr)
    def test_copies_are_equal_and_independent(self, example: Filter) -> None:
        twin = copy.deepcopy(example)
        assert twin == example
        assert hash(twin) == hash(example)
        assert twin is not example
        Driver(twin, table("rowkey88 f:q=8 bytes!")).rows()
        assert repr(twin) == repr(example)

    def test_different_filters_differ(self) -> None:
        every = EXAMPLES + API_ONLY
        assert len(set(every)) == len(every)
        assert f.PageFilter(1) != "PageFilter(1)"
        assert f.PrefixFilter(b"\xff") != f.PrefixFilter(b"\\xff")

    def test_state_does_not_leak_between_copies(self) -> None:
        original = f.PageFilter(1)
        assert len(Driver(original, ABC).rows()) == 1
        assert len(Driver(original, ABC).rows()) == 1

    def test_public_names(self) -> None:
        public = importlib.import_module("hyperbase.filters")
        for name in public.__all__:
            assert getattr(public, name).__doc__, name
