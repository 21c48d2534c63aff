"""How the shell prints: tables, timestamps, numbers, schemas. Expected texts are HBase 2.6.1's own."""

from __future__ import annotations

import io
import struct
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperbase.common.descriptors import ColumnFamilyDescriptor, TableDescriptor
from hyperbase.shell.converters import CONVERTERS, converter, split_converter
from hyperbase.shell.errors import ArgumentError
from hyperbase.shell.formatter import Formatter
from hyperbase.shell.schemas import byte_text, family_text, table_text, time_text
from hyperbase.shell.split_algorithms import ALGORITHMS
from hyperbase.shell.timestamps import format_timestamp
from hyperbase.shell.values import inspect


def printed(
    width: int, *rows: tuple[str, ...], header: tuple[str, ...] = ("ROW", "COLUMN+CELL")
) -> list[str]:
    out = io.StringIO()
    formatter = Formatter(out, width)
    formatter.header(header)
    for row in rows:
        formatter.row(row)
    formatter.footer()
    return out.getvalue().splitlines()


def test_without_a_terminal_nothing_is_padded() -> None:
    assert printed(0, ("r1", "column=f:c, value=v")) == [
        "ROW  COLUMN+CELL",
        " r1 column=f:c, value=v",
        "1 row(s)",
    ]


def test_on_a_terminal_columns_have_widths_and_long_texts_wrap() -> None:
    lines = printed(20, ("a-row-key", "0123456789abcdefghij"))
    assert lines == [
        "ROW    COLUMN+CELL  ",
        " a-row 0123456789abc",
        " -key  defghij      ",
        "1 row(s)",
    ]


def test_a_single_column_is_not_inset() -> None:
    assert printed(0, ("t1",), header=("TABLE",)) == ["TABLE", "t1", "1 row(s)"]
    assert printed(4, ("table1",), header=("T",)) == ["T   ", "tabl", "e1  ", "1 row(s)"]


@pytest.fixture
def utc() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@given(st.integers(16, 60), st.text("ab", max_size=90), st.text("cd", max_size=90))
def test_wrapping_loses_nothing_and_lines_are_as_wide_as_the_terminal(
    width: int, left: str, right: str
) -> None:
    lines = printed(width, (left, right), header=("", ""))[:-1]
    edge = 1 + width // 4
    assert "".join(line[:edge] for line in lines).replace(" ", "") == left
    assert "".join(line[edge:] for line in lines).replace(" ", "") == right
    assert all(len(line) == width for line in lines)


@pytest.mark.parametrize(
    ("stamp", "text"),
    [
        (0, "1970-01-01T00:00"),
        (1100, "1970-01-01T00:00:01.100"),
        (1706702400123, "2024-01-31T12:00:00.123"),
        (1709251199000, "2024-02-29T23:59:59"),
        (253402300800000, "+10000-01-01T00:00"),
        (2**63 - 1, "+292278994-08-17T07:12:55.807"),
    ],
)
@pytest.mark.usefixtures("utc")
def test_timestamps(stamp: int, text: str) -> None:
    assert format_timestamp(stamp) == text


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("toInt", b"\x00\x00\x00\x05", "5"),
        ("toInt", b"\xff\xff\xff\xff", "-1"),
        ("toInt", bytes(9), "0"),
        ("toLong", struct.pack(">q", -(2**63)), str(-(2**63))),
        ("toShort", b"\x01\x00", "256"),
        ("toDouble", struct.pack(">d", 1e10), "1.0E10"),
        ("toDouble", struct.pack(">d", 0.1), "0.1"),
        ("toDouble", struct.pack(">d", 1234567.0), "1234567.0"),
        ("toDouble", struct.pack(">d", 12345678.0), "1.2345678E7"),
        ("toDouble", struct.pack(">d", 0.001), "0.001"),
        ("toDouble", struct.pack(">d", 0.00099), "9.9E-4"),
        ("toDouble", struct.pack(">d", -0.0), "-0.0"),
        ("toDouble", struct.pack(">d", float("nan")), "NaN"),
        ("toDouble", struct.pack(">d", float("-inf")), "-Infinity"),
        ("toFloat", struct.pack(">f", 1.5e-5), "1.5E-5"),
        ("toFloat", struct.pack(">f", 0.1), "0.1"),
        ("toBoolean", b"\x01", "true"),
        ("toBoolean", b"\x00", "false"),
        ("toBigDecimal", b"\x00\x00\x00\x02" + (1250).to_bytes(2, "big"), "12.50"),
        ("toBigDecimal", b"\x00\x00\x00\x00\xff", "-1"),
        ("toBigDecimal", b"\x00\x00\x00\x09\x01", "1E-9"),
        ("toHex", b"\x01\xab", "01ab"),
        ("toString", "é".encode(), "é"),
        ("toStringBinary", b"a\\\x00", "a\\x5C\\x00"),
        ("len", b"abc", "3"),
    ],
)
def test_converters(name: str, data: bytes, text: str) -> None:
    assert converter(name)(data) == text
    assert converter(f"c(org.apache.hadoop.hbase.util.Bytes).{name}")(data) == text


def test_a_value_that_is_too_short_is_told_in_hbases_words() -> None:
    with pytest.raises(
        ArgumentError, match=r"offset \(0\) \+ length \(4\) exceed the capacity of the array: 3"
    ):
        converter("toInt")(b"abc")
    with pytest.raises(ArgumentError, match="Array has wrong size: 2"):
        converter("toBoolean")(b"ab")


@given(st.sampled_from(sorted(CONVERTERS)), st.binary(max_size=64))
def test_no_value_breaks_a_converter(name: str, data: bytes) -> None:
    with suppress(ArgumentError):
        assert isinstance(CONVERTERS[name](data), str)


def test_only_a_converters_name_is_taken_off_a_column() -> None:
    assert split_converter("f:q:toInt") == ("f:q", CONVERTERS["toInt"])
    assert split_converter("f:q:c(org.apache.hadoop.hbase.util.Bytes).len") == ("f:q", CONVERTERS["len"])
    assert split_converter("f:a:b") == ("f:a:b", None)
    assert split_converter("f:a:b:toLong") == ("f:a:b", CONVERTERS["toLong"])
    assert split_converter("f") == ("f", None)
    for column in ("f:q:toFoo", "f:q:c(java.lang.Runtime).exec"):
        with pytest.raises(ArgumentError):
            split_converter(column)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 SECONDS"), (1, "1 SECOND"), (60, "60 SECONDS (1 MINUTE)"),
     (100, "100 SECONDS (1 MINUTE 40 SECOND)"),
     (20000, "20000 SECONDS (5 HOURS 33 MINUTES 20 SECONDS)"), (2592000, "2592000 SECONDS (30 DAYS)"),
     (90061, "90061 SECONDS (1 DAY 1 HOUR 1 MINUTE 1 SECOND)"), (2**31 - 1, "FOREVER")],
)  # fmt: skip
def test_intervals(seconds: int, text: str) -> None:
    assert time_text(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(100, "100 B"), (1024, "1024 B (1KB)"), (65537, "65537 B (64KB 1B)"), (1572864, "1572864 B (1MB 512KB)"),
     (2**41, "2199023255552 B (2TB)")],
)  # fmt: skip
def test_sizes(size: int, text: str) -> None:
    assert byte_text(size) == text


def test_schemas() -> None:
    family = ColumnFamilyDescriptor("f")
    assert family_text(family) == (
        "{NAME => 'f', INDEX_BLOCK_ENCODING => 'NONE', VERSIONS => '1', KEEP_DELETED_CELLS => 'FALSE', "
        "DATA_BLOCK_ENCODING => 'NONE', TTL => 'FOREVER', MIN_VERSIONS => '0', REPLICATION_SCOPE => '0', "
        "BLOOMFILTER => 'ROW', IN_MEMORY => 'false', COMPRESSION => 'NONE', BLOCKCACHE => 'true', "
        "BLOCKSIZE => '65536 B (64KB)'}"
    )
    changed = family.with_options(
        {
            "CONFIGURATION": {"a.b": "1"},
            "METADATA": {"foo": "bar"},
            "NEW_VERSION_BEHAVIOR": True,
            "IS_MOB": True,
        }
    )
    assert family_text(changed).endswith(
        "IS_MOB => 'true', COMPRESSION => 'NONE', BLOCKCACHE => 'true', BLOCKSIZE => '65536 B (64KB)', "
        "METADATA => {'NEW_VERSION_BEHAVIOR' => 'true', 'foo' => 'bar'}, CONFIGURATION => {'a.b' => '1'}}"
    )
    table = TableDescriptor("t", [family]).with_options(
        {"MAX_FILESIZE": 134217728, "MEMSTORE_FLUSHSIZE": 2097152, "READONLY": True,
         "DURABILITY": "ASYNC_WAL",
         "METADATA": {"foo": "bar"}, "SPLIT_ENABLED": False, "REGION_REPLICATION": 2,
         "PRIORITY": 5,
         "NORMALIZATION_ENABLED": True, "CONFIGURATION": {"hbase.x.y": "1"}}
    )  # fmt: skip
    assert table_text(table) == (
        "t, {TABLE_ATTRIBUTES => {DURABILITY => 'ASYNC_WAL', MAX_FILESIZE => '134217728 B (128MB)', "
        "MEMSTORE_FLUSHSIZE => '2097152 B (2MB)', PRIORITY => '5', READONLY => 'true', "
        "REGION_REPLICATION => '2', METADATA => {'NORMALIZATION_ENABLED' => 'true', "
        "'SPLIT_ENABLED' => 'false', 'foo' => 'bar', 'hbase.x.y' => '1'}}}"
    )
    assert table_text(TableDescriptor("ns:t", [family])) == "ns:t"


def test_split_algorithms() -> None:
    assert ALGORITHMS["HexStringSplit"](3) == [b"55555555", b"aaaaaaaa"]
    assert ALGORITHMS["DecimalStringSplit"](15)[:2] == [b"06666666", b"13333332"]
    assert ALGORITHMS["UniformSplit"](2) == [b"\x80" + bytes(7)]
    assert ALGORITHMS["UniformSplit"](3) == [b"U" * 8, b"\xaa" * 8]


def test_values_are_inspected_as_ruby_does() -> None:
    assert inspect({"VERSIONS": 4, "A": [1, 2.0, None, True, 'x"\n']}) == (
        '{"VERSIONS"=>4, "A"=>[1, 2.0, nil, true, "x\\"\\n"]}'
    )
