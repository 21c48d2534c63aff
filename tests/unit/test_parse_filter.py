"""The filter language: what it accepts, as what, and with which words it refuses."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperbase.common.errors import IllegalArgumentException
from hyperbase.common.filters import (
    Filter,
    FilterList,
    InclusiveStopFilter,
    Operator,
    PageFilter,
    PrefixFilter,
    SkipFilter,
    WhileMatchFilter,
    parse_filter,
    register_filter,
    registered_filters,
    resolve_filter,
)
from hyperbase.common.filters.parse import _registered

A, B, C, D = "PageFilter(1)", "PageFilter(2)", "PageFilter(3)", "PageFilter(4)"


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        (f"{A} AND {B}", f"({A} AND {B})"),
        (f"{A} OR {B} OR {C}", f"({A} OR {B} OR {C})"),
        (f"{A} AND {B} OR {C}", f"(({A} AND {B}) OR {C})"),
        (f"{A} OR {B} AND {C}", f"({A} OR ({B} AND {C}))"),
        (f"{A} AND {B} OR {C} AND {D}", f"(({A} AND {B}) OR ({C} AND {D}))"),
        (f"SKIP {A} AND {B}", f"((SKIP {A}) AND {B})"),
        (f"{A} AND SKIP {B}", f"({A} AND (SKIP {B}))"),
        (f"SKIP WHILE {A}", f"SKIP (WHILE {A})"),
        (f"SKIP({A} OR {B})", f"SKIP ({A} OR {B})"),
        (f"((({A})))", A),
        (f"(({A} OR {B}) AND {C}", f"(({A} OR {B}) AND {C})"),
        (f"({A} OR {B} AND {C}) AND {D}", f"(({A} OR ({B} AND {C})) AND {D})"),
        (f"{A}AND({B})", f"{A} AND {B}"),
        (f"\t {A}\t ", A),
        ("(PrefixFilter ('a')AND  FirstKeyOnlyFilter())", "PrefixFilter('a') AND FirstKeyOnlyFilter()"),
    ],
)
def test_structure(text: str, same_as: str) -> None:
    assert parse_filter(text) == parse_filter(same_as)


def test_lists_are_flat_and_a_lone_filter_stays_itself() -> None:
    three = parse_filter(f"{A} OR {B} OR {C}")
    assert isinstance(three, FilterList)
    assert three.operator is Operator.MUST_PASS_ONE
    assert three.filters == [PageFilter(1), PageFilter(2), PageFilter(3)]
    assert type(parse_filter(f"(({A}))")) is PageFilter
    assert type(parse_filter(f"SKIP {A}")) is SkipFilter
    assert type(parse_filter(f"WHILE {A}")) is WhileMatchFilter


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("InclusiveStopFilter ('row''3')", InclusiveStopFilter("row'3")),
        ("PrefixFilter('')", PrefixFilter("")),
        ("PrefixFilter('''')", PrefixFilter("'")),
        ("PrefixFilter(') AND (')", PrefixFilter(") AND (")),
        ("PrefixFilter('a, b')", PrefixFilter("a, b")),
        ("PrefixFilter('é')", PrefixFilter("é")),
        (b"PrefixFilter('\xff\x00')", PrefixFilter(b"\xff\x00")),
        ("PrefixFilter('a',)", PrefixFilter("a")),
        ("PageFilter(05)", PageFilter(5)),
        ("PageFilter( 5 , )", PageFilter(5)),
        ("PageFilter(9223372036854775807)", PageFilter(2**63 - 1)),
        ("(PageFilter(5)", PageFilter(5)),
    ],
)
def test_arguments(text: str | bytes, expected: Filter) -> None:
    assert parse_filter(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "TimestampsFilter()",
        "TimestampsFilter(1 2,3)",
        "MultipleColumnPrefixFilter()",
        "KeyOnlyFilter(TRUE)",
        "ColumnRangeFilter('a',TrUe,'b',faLSE)",
        "ColumnCountGetFilter(2147483647)",
        "RowFilter (=, 'binary:a:b')",
        "ValueFilter(!=,'regexstring:^a')",
        "SingleColumnValueFilter('f','q',<=,'binaryprefix:')",
        "DependentColumnFilter('f','q')",
        "DependentColumnFilter('f','q',true)",
        "DependentColumnFilter('f','q',true,=,'substring:x')",
    ],
)
def test_accepted(text: str) -> None:
    parse_filter(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Incorrect Filter String"),
        ("   ", "Incorrect Filter String"),
        ("()", "Incorrect Filter String"),
        ("(", "Incorrect Filter String"),
        ("PrefixFilter", "Incorrect Filter String"),
        ("PrefixFilter('a'", "Incorrect Filter String"),
        ("PrefixFilter('a)", "Incorrect Filter String"),
        (f"{A} {B}", "Incorrect Filter String"),
        (f"{A} and {B}", "Incorrect|not supported"),
        (f"{A} AND", "Incorrect Filter String"),
        (f"AND {A}", "Filter Name AND not supported"),
        (f"{A} AND ", "an AND needs two filters"),
        (f"{A} OR ()", "an OR needs two filters"),
        ("SKIP ", "a SKIP wraps a filter"),
        (f"{A})", "Mismatched parenthesis"),
        (f"({A} AND {B}))", "Mismatched parenthesis"),
        ("FooFilter('a')", "Filter Name FooFilter not supported"),
        ("prefixfilter('a')", "Filter Name prefixfilter not supported"),
        (f"skip {A}", "Filter Name skip not supported"),
        ("('a')", "Incorrect Filter Name"),
        ("PrefixFilter(row)", r"Incorrect filter string PrefixFilter\(row\)"),
        ("PageFilter('123')", r"Incorrect filter string PageFilter\('123'\)"),
        ("ColumnPaginationFilter('4','6')", "Incorrect filter string"),
        ("ColumnCountGetFilter(2147483648)", "Incorrect filter string"),
        ("ColumnPaginationFilter(1,2147483648)", "Incorrect filter string"),
        ("PageFilter(9223372036854775808)", "Incorrect filter string"),
        ("PageFilter(" + "9" * 5000 + ")", "Incorrect filter string"),
        ("TimestampsFilter(9223372036854775808)", "Incorrect filter string"),
        ("PageFilter(+5)", "Incorrect filter string"),
        ("PageFilter(5L)", "Incorrect filter string"),
        ("PageFilter(-5)", "Incorrect filter string"),
        ("TimestampsFilter(-1)", "Incorrect filter string"),
        ("PageFilter()", "Incorrect filter string"),
        ("PageFilter(1,2)", "Expected 1 but got: 2"),
        ("FirstKeyOnlyFilter(1)", "Incorrect filter string"),
        ("KeyOnlyFilter(yes)", "Incorrect filter string"),
        ("KeyOnlyFilter('true')", "Incorrect filter string"),
        ("RowFilter(=,'foo:a')", "Incorrect comparatorType"),
        ("RowFilter(=,'BINARY:a')", "Incorrect comparatorType"),
        ("RowFilter(=,'a')", "Incorrect filter string"),
        ("RowFilter(>>,'binary:a')", "Incorrect filter string"),
        ("RowFilter(==,'binary:a')", "Incorrect filter string"),
        ("RowFilter('=','binary:a')", "Incorrect filter string"),
        ("RowFilter(=,binary:a)", "Incorrect filter string"),
        ("RowFilter(<,'substring:a')", "can only be used with EQUAL and NOT_EQUAL"),
        ("ValueFilter(>=,'regexstring:a')", "can only be used with EQUAL and NOT_EQUAL"),
        ("ValueFilter(=,'regexstring:(')", "Incorrect filter string"),
        ("SingleColumnValueFilter('f','q',=,'binary:a',true)", "Expected 4 or 6 but got: 5"),
        ("DependentColumnFilter('f','q',true,=)", "Expected 2 or 3 or 5"),
        ("MultipleColumnPrefixFilter('a','a')", "prefixes must be distinct"),
        ("FuzzyRowFilter('a')", "not supported"),
        ("SKIP " * 200 + A, "nested more than"),
        ("\ud800", "Incorrect Filter String"),
    ],
)
def test_refused(text: str, words: str) -> None:
    with pytest.raises(IllegalArgumentException, match=words):
        parse_filter(text)


def test_registered_names() -> None:
    names = (
        "KeyOnly FirstKeyOnly Prefix ColumnPrefix MultipleColumnPrefix ColumnCountGet Page ColumnPagination "
        "InclusiveStop Timestamps Row Family Qualifier Value ColumnRange SingleColumnValue "
        "SingleColumnValueExclude DependentColumn ColumnValue"
    )
    assert registered_filters()[:19] == [f"{name}Filter" for name in names.split(" ")]
    register_filter("First", lambda arguments: PageFilter(len(arguments)))
    try:
        assert parse_filter("First('a', 2) AND KeyOnlyFilter()") == parse_filter(f"{B} AND KeyOnlyFilter()")
    finally:
        del _registered["First"]


def test_resolve() -> None:
    given_filter = PageFilter(1)
    assert resolve_filter(None) is None
    assert resolve_filter(given_filter) is given_filter
    assert resolve_filter(A) == resolve_filter(A.encode()) == given_filter
    with pytest.raises(TypeError, match="int"):
        resolve_filter(5)  # type: ignore[arg-type]


WORDS = """PrefixFilter PageFilter RowFilter TimestampsFilter KeyOnlyFilter ValueFilter PageFilter(1) ( ) ,
' '' 'a' 'binary:a' 'regexstring:(a' = < - 5 99999999999999999999 true AND OR SKIP WHILE é"""
PIECES = st.sampled_from([*WORDS.split(), " ", "\t", "\n", " AND ", " OR ", "SKIP "])


@given(st.one_of(st.text(), st.binary(), st.lists(PIECES).map("".join)))
@settings(max_examples=600, deadline=None)
def test_any_text_parses_or_is_an_illegal_argument(text: str | bytes) -> None:
    try:
        parsed = parse_filter(text)
    except IllegalArgumentException:
        return
    assert isinstance(parsed, Filter)
    if b"FilterList" not in parsed.filter_string():
        assert parse_filter(parsed.filter_string()) == parsed


@given(st.binary())
def test_any_bytes_survive_quoting(value: bytes) -> None:
    assert parse_filter(PrefixFilter(value).filter_string()) == PrefixFilter(value)


def test_long_texts_take_linear_time() -> None:
    for text in ("(" * 200_000, "'" * 200_001, "a'" * 100_000, "PrefixFilter(" + "'" * 100_001 + ")"):
        with pytest.raises(IllegalArgumentException):
            parse_filter(text)
    many = parse_filter(" OR ".join([A] * 5_000))
    assert isinstance(many, FilterList)
    assert len(many.filters) == 5_000
