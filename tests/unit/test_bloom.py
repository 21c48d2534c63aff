"""Bloom filters never deny what was added, seldom claim what was not, and never change their bits."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regionserver.storage import bloom
from regionserver.storage.bloom import BloomBuilder, BloomFilter, build_filter, column_key, hash_keys


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=300, unique=True))
def test_no_false_negatives(keys: list[bytes]) -> None:
    made = build_filter(hash_keys(keys))

    assert all(made.may_contain(key) for key in keys)


@pytest.mark.parametrize(
    "key",
    [
        lambda i: b"user%016d" % i,
        lambda i: i.to_bytes(8, "big"),
        lambda i: (i << 16).to_bytes(8, "big"),
        lambda i: random.Random(i).randbytes(16),
        lambda i: b"%d.com.example/page" % i,
    ],
    ids=["digits", "counter", "strided", "random", "suffix"],
)
def test_about_one_percent_false_positives(key) -> None:  # type: ignore[no-untyped-def]
    count = 20_000
    made = build_filter(hash_keys([key(i) for i in range(count)]))

    wrong = sum(made.may_contain(key(i)) for i in range(count, 2 * count))
    wrong_longer = sum(made.may_contain(key(i) + b"x") for i in range(count))

    assert wrong < count * 0.015
    assert wrong_longer < count * 0.015


def test_bits_are_part_of_the_file_format() -> None:
    made = build_filter(hash_keys([b"row-1", b"row-2", column_key(b"row-2", b"q")]))

    assert made.bit_count == 64
    assert made.bits.hex() == "5a1b44db02000204"


def test_builder_starts_a_new_filter_only_between_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bloom, "MAX_KEYS_PER_FILTER", 4)
    builder = BloomBuilder()
    builder.add([b"a", b"b"], [column_key(b"a", b"1"), column_key(b"b", b"1")])
    builder.add([], [column_key(b"b", b"2")], continues=True)
    builder.add([b"c"], [column_key(b"b", b"3"), column_key(b"c", b"1")], continues=True)
    builder.add([b"d"], [column_key(b"d", b"1")])

    (first_row, first), (second_row, second) = builder.finish()

    assert (first_row, second_row) == (b"a", b"d")
    assert all(first.may_contain(column_key(b"b", q)) for q in (b"1", b"2", b"3"))
    assert second.may_contain(b"d")
    assert second.may_contain(column_key(b"d", b"1"))


def test_builder_without_keys_builds_nothing() -> None:
    assert BloomBuilder().finish() == []


@pytest.mark.parametrize(("bits", "count"), [(b"", 0), (b"\0", 9), (b"\0", 0), (b"\0", -1)])
def test_bits_that_do_not_fit_are_refused(bits: bytes, count: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        BloomFilter(bits, count)
