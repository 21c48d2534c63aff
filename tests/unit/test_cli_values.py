"""Values as cells: text by default, HBase's binary forms on request, and back for people."""

from __future__ import annotations

import datetime
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperbase.cli.console import CommandError, human_bytes, human_seconds
from hyperbase.cli.values import (
    ENCODERS,
    encode_text,
    parse_timestamp,
    parse_types,
    printable,
)


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("é", "é".encode()),
        ("\udce9", b"\xe9"),
        (b"\x00\xff", b"\x00\xff"),
        (7, b"7"),
        (2**70, b"1180591620717411303424"),
        (0.1, b"0.1"),
        (2.0, b"2.0"),
        (True, b"true"),
        (False, b"false"),
        ({"a": [1, None, "é"]}, '{"a":[1,null,"é"]}'.encode()),
        ([], b"[]"),
        (datetime.date(2002, 3, 27), b"2002-03-27"),
        (datetime.datetime(2002, 3, 27, 1, 2, 3), b"2002-03-27T01:02:03"),
    ],
)
def test_text_is_what_a_person_would_write(value: Any, stored: bytes) -> None:
    assert encode_text(value) == stored


def test_typed_values_have_hbase_s_bytes() -> None:
    assert ENCODERS["int64_be"]("-2") == ENCODERS["counter"](-2) == b"\xff" * 7 + b"\xfe"
    assert ENCODERS["int32_be"](1) == b"\0\0\0\1"
    assert ENCODERS["float64_be"]("2.5") == struct.pack(">d", 2.5)
    assert ENCODERS["bool_be"]("True") == b"\xff"
    assert ENCODERS["bool_be"](0) == b"\x00"


def test_checked_values_stay_text() -> None:
    assert ENCODERS["int64"](" -2 ") == ENCODERS["int16"](-2.0) == b"-2"
    assert ENCODERS["float64"]("2.50") == b"2.5"
    assert ENCODERS["bool"]("Yes") == b"true"
    assert ENCODERS["json"]({"a": 1}) == b'{"a":1}'


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int64", "abc"),
        ("int64", 2.5),
        ("int64", True),
        ("int64", []),
        ("int16", 40000),
        ("int16_be", 40000),
        ("float64", "x"),
        ("float32_be", 1e300),
        ("bool", "maybe"),
    ],
)
def test_a_value_that_does_not_fit_its_type_is_refused(kind: str, value: Any) -> None:
    with pytest.raises(ValueError):
        ENCODERS[kind](value)


def test_types_option() -> None:
    assert parse_types("a=int64, cf:b=float64,x=y=json", ENCODERS) == {
        "a": "int64",
        "cf:b": "float64",
        "x=y": "json",
    }
    assert parse_types(None) == {}
    with pytest.raises(CommandError, match="'a=long'"):
        parse_types("a=long", ENCODERS)


@pytest.mark.parametrize(
    ("value", "stamp"),
    [
        (1017187200000, 1017187200000),
        ("1017187200000", 1017187200000),
        ("2002-03-27", 1017187200000),
        ("2002-03-27T01:00:00+01:00", 1017187200000),
        (datetime.date(2002, 3, 27), 1017187200000),
        (datetime.datetime(2002, 3, 27, 0, 0, 0, 999), 1017187200000),
    ],
)
def test_timestamps(value: Any, stamp: int) -> None:
    assert parse_timestamp(value) == stamp


@pytest.mark.parametrize("value", ["yesterday", -1, "1969-12-31", 2**63, True, None, [1]])
def test_what_is_no_timestamp_is_refused(value: Any) -> None:
    with pytest.raises(ValueError):
        parse_timestamp(value)


@given(st.binary(max_size=40))
def test_printable_is_one_printable_line(data: bytes) -> None:
    assert printable(data).isprintable()


def test_printable_shows_text_and_escapes_the_rest() -> None:
    assert printable("grün".encode()) == "grün"
    assert printable(b"a\x00\xff\\") == "a\\x00\\xFF\\x5C"
    assert printable(b"x" * 100, 10) == "xxxxxxxxxx… (100 bytes)"


def test_sizes_and_times() -> None:
    assert [human_bytes(n) for n in (5, 1536, 3 << 20, 5 << 30)] == ["5 B", "1.5 KiB", "3.0 MiB", "5.0 GiB"]
    assert [human_seconds(s) for s in (0.00042, 0.0123, 4.567)] == ["420 µs", "12.3 ms", "4.57 s"]
