"""Names: HBase's rules and messages, canonical spelling, directory components."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperbase.common.errors import IllegalArgumentException
from hyperbase.common.names import (
    canonical_table_name,
    check_family_name,
    check_namespace_name,
    check_snapshot_name,
    family_directory,
    family_of_directory,
    join_table_name,
    split_table_name,
    table_directory,
    to_string_binary,
)


@pytest.mark.parametrize(
    ("name", "parts", "printed"),
    [
        ("t", ("default", "t"), "t"),
        ("default:t", ("default", "t"), "t"),
        ("ns:t-1.x_", ("ns", "t-1.x_"), "ns:t-1.x_"),
        ("hbase:meta", ("hbase", "meta"), "hbase:meta"),
        ("_t", ("default", "_t"), "_t"),
        ("é日本٣", ("default", "é日本٣"), "é日本٣"),
        ("ñ1:b", ("ñ1", "b"), "ñ1:b"),
    ],
)
def test_legal_table_names(name: str, parts: tuple[str, str], printed: str) -> None:
    assert split_table_name(name) == table_directory(name) == parts
    assert canonical_table_name(name) == canonical_table_name(name.encode()) == printed


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "Table qualifier must not be empty"),
        ("ns:", "Table qualifier must not be empty"),
        (":t", "Namespace name must not be empty"),
        (
            ".t",
            "Illegal first character <46> at 0. User-space table qualifiers can only start with "
            "'alphanumeric characters' from any language: .t",
        ),
        (
            "t t",
            "Illegal character code:32, < > at 1. User-space table qualifiers may only contain "
            "'alphanumeric characters' and digits: t t",
        ),
        (
            "a:b:c",
            "Illegal character code:58, <:> at 1. User-space table qualifiers may only contain "
            "'alphanumeric characters' and digits: b:c",
        ),
        (
            "bad-ns:t",
            "Illegal character <-> at 3. Namespaces may only contain "
            "'alphanumeric characters' from any language and digits: bad-ns",
        ),
    ],
)
def test_illegal_table_names_have_hbases_messages(name: str, message: str) -> None:
    with pytest.raises(IllegalArgumentException) as caught:
        split_table_name(name)
    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["-t", "a/b", "a\\b", "a\0", "..", "a\n", "𐐀", "²", "x" * 256, "é" * 128])
def test_names_that_would_harm_a_directory_are_refused(name: str) -> None:
    with pytest.raises(IllegalArgumentException):
        canonical_table_name(name)


def test_a_table_name_is_text() -> None:
    with pytest.raises(IllegalArgumentException, match="UTF-8"):
        canonical_table_name(b"\xff")
    with pytest.raises(IllegalArgumentException, match="not int"):
        canonical_table_name(5)  # type: ignore[arg-type]


def test_namespace_and_snapshot_names() -> None:
    assert check_namespace_name("a_1") == "a_1"
    assert check_snapshot_name("s-1.2") == "s-1.2"
    with pytest.raises(IllegalArgumentException, match="Snapshot qualifier must not be empty"):
        check_snapshot_name("")
    with pytest.raises(IllegalArgumentException, match="<:> at 2"):
        check_snapshot_name("ns:s")
    with pytest.raises(IllegalArgumentException, match="<\\.> at 1"):
        check_namespace_name("a.b")


@pytest.mark.parametrize(
    "family", [b"cf", b"a b", b"-cf", "é".encode(), b"\x80\xff", b"recovered.edit", b"c.f"]
)
def test_legal_family_names_round_trip_through_their_directory(family: bytes) -> None:
    assert check_family_name(family) == family
    assert family_of_directory(family_directory(family)) == family


@pytest.mark.parametrize(
    ("family", "message"),
    [
        (b"", "Column Family name can not be empty"),
        (b".cf", "Column Family names cannot start with a period: .cf"),
        (
            b"c:f",
            "Illegal character <58>. Column Family names cannot contain control characters or colons: c:f",
        ),
        (b"c/f", "Illegal character <47>. "),
        (b"c\\f", "Illegal character <92>. "),
        (b"c\nf", "Illegal character <10>. "),
        (b"c\x7f", "Illegal character <127>. "),
        (b"recovered.edits", "Column Family name cannot be: recovered.edits"),
    ],
)
def test_illegal_family_names_have_hbases_messages(family: bytes, message: str) -> None:
    with pytest.raises(IllegalArgumentException) as caught:
        check_family_name(family)
    assert str(caught.value).startswith(message)


def test_binary_is_printed_as_hbase_does() -> None:
    assert to_string_binary(b"a~ \\\x00\xff") == "a~ \\x5C\\x00\\xFF"


@given(st.text(max_size=12))
def test_any_text_is_a_canonical_name_or_refused(text: str) -> None:
    try:
        name = canonical_table_name(text)
    except IllegalArgumentException:
        return
    assert canonical_table_name(name) == name == join_table_name(*split_table_name(text))
    assert not set("/\\\0") & set("".join(table_directory(name)))
